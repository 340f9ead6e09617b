/**
 * `archive`: trees of files and their shares on drives and folders that come and go, with no node.
 * What does the work is loaded when a verb needs it: other commands start without it.
 */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Archive, Outcome, Part } from '../archive/index.ts';
import { HoldfastError } from '../base/index.ts';
import { type ArchiveOptions as Options, holdArchive, openArchive } from './archive-session.ts';
import { readConfig } from './archive-session.ts';
import { conditional, faultLines, offlineLines, outcomeLine, scanLines } from './archive-views.ts';
import { plural, table } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import { existingShareKey, KEY_OPTIONS } from './share-key.ts';
import { parseCount } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

/** Something is not as it should be; it has been said what. */
const EXIT_FAULT = 1;

const PATHS_ARG = { '[paths...]': 'files and folders of stores, or scheme:path (default: all)' };
const COMMON_OPTIONS = {
  '--config <file>': 'configuration (default: archive.yaml in the data directory)',
  '--key <file>': KEY_OPTIONS['--key <file>'],
};
const DRY_RUN = { '-n, --dry-run': 'change nothing; say what would be done' };

export function addArchiveCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'archive', 'files and their shares on drives, without a node');
  addConfig(group);
  addInit(group);
  addSplit(group);
  addScan(group);
  addComparisons(group);
  addCommit(group);
  addRestores(group);
  addLint(group);
  addMove(group);
  addValidate(group);
}

function addConfig(group: Verbs): void {
  const config = addGroup(group, 'config', 'the configuration of archives');
  addVerb(config, 'check', {
    summary: 'check the configuration, and say which stores are online',
    options: COMMON_OPTIONS,
    examples: ['holdfast archive config check', 'holdfast archive config check --config a.yaml'],
    action: async (session: Session, options: Options) => {
      const { describePlace } = await import('../archive/index.ts');
      await using archive = await openArchive(session, options);
      const stores = archive.stores.map(({ scheme, name, place, root, reason }) => {
        return { scheme, store: name, place: describePlace(place), root, reason };
      });
      session.show(stores, () =>
        table(
          ['store', 'place', 'state'],
          stores.map(({ scheme, store, place, root, reason }) => [
            `${scheme}/${store}`,
            place,
            root === undefined ? `offline: ${reason}` : `online at ${root}`,
          ]),
        ),
      );
    },
  });
  addVerb(config, 'dump', {
    summary: 'print the configuration with all defaults, as YAML or JSON',
    options: { '--config <file>': COMMON_OPTIONS['--config <file>'] },
    examples: ['holdfast archive config dump'],
    action: async (session: Session, options: Options) => {
      const { configValue, dumpConfig } = await import('../archive/index.ts');
      const read = await readConfig(session, options);
      session.show(configValue(read), () => [dumpConfig(read).trimEnd()]);
    },
  });
}

interface InitOptions extends Options {
  readonly adopt?: string;
  readonly forget?: string;
}

function addInit(group: Verbs): void {
  addVerb(group, 'init', {
    summary: 'make the folders of the stores, and mark them',
    details:
      'Each store gets a file .holdfast-archive, by which it is known from then on. Stores that ' +
      'are there stay as they are; give it again when another drive is plugged in.',
    options: {
      ...COMMON_OPTIONS,
      ...DRY_RUN,
      '--adopt <store>': 'this folder takes the place of a store that was lost (scheme/store)',
      '--forget <store>': 'a store that is gone for good, and in the configuration no more',
    },
    examples: ['holdfast archive init', 'holdfast archive init --adopt photos/share-2'],
    action: async (session: Session, options: InitOptions) => {
      await using _ = await holdArchive(session, { ...options, isAlone: true });
      await using archive = await openArchive(session, options);
      const results = await archive.init({
        adopts: options.adopt ? [options.adopt] : [],
        forgets: options.forget ? [options.forget] : [],
      });
      session.show(results, () =>
        results.map(({ store, state, detail }) => {
          const said = conditional(state, { isDryRun: options.dryRun }).padEnd(7);
          return `${said}  ${store}  (${detail})`;
        }),
      );
      return results.some(({ state }) => state === 'offline') ? EXIT_FAULT : 0;
    },
  });
}

function addSplit(group: Verbs): void {
  addVerb(group, 'split', {
    summary: 'make the shares of files that have none, or not all',
    details: 'The trees of the share stores mirror the tree of the files.',
    args: PATHS_ARG,
    options: {
      ...COMMON_OPTIONS,
      ...DRY_RUN,
      '--overwrite': 'make them again: also those that are there, or are of other content',
      '--verify': 'read every byte of those that are there, and make bad ones again',
    },
    examples: ['holdfast archive split', 'holdfast archive split -n ~/photos/2024'],
    action: async (
      session: Session,
      options: Options & { readonly overwrite?: boolean; readonly verify?: boolean },
      paths: string[],
    ) => {
      const modes = { overwrites: options.overwrite ?? false, verifies: options.verify ?? false };
      return await report(session, { ...options, isSealing: true, isAlone: true }, (archive) =>
        archive.split(placesOf(session, paths), modes),
      );
    },
  });
}

function addScan(group: Verbs): void {
  addVerb(group, 'scan', {
    summary: 'show how each file stands: shares, replicas, redundancy',
    details:
      'Marks: * perfect, ! viable, X bad or of another length, - none, ? offline, 1 the master, ' +
      'D and d folders. Copies: 100 % for each replica, and 100 % · shares / quorum.',
    args: PATHS_ARG,
    options: COMMON_OPTIONS,
    examples: ['holdfast archive scan', 'holdfast archive scan photos:2024 --json'],
    action: async (session: Session, options: Options, paths: string[]) => {
      await using archive = await openArchive(session, options);
      const files = await Array.fromAsync(archive.scan(placesOf(session, paths)));
      const stores = archive.stores.map(({ scheme, name, root, reason }) => {
        return { scheme, store: name, isOnline: root !== undefined, root, reason };
      });
      if (!session.isJson) {
        session.note(...offlineLines(archive.stores), ...faultLines(files));
        if (files.some(({ shares }) => shares.isSealed)) await warnOfNoKey(session, options);
      }
      session.show({ stores, files }, () => scanLines(files));
      const isBlind = !archive.stores.some(({ root }) => root !== undefined);
      return isBlind || files.some(({ isDegraded }) => isDegraded) ? EXIT_FAULT : 0;
    },
  });
}

function addComparisons(group: Verbs): void {
  const marks = 'Marks: == right, != other content, !< other length, !# too few, -- none, !E bad.';
  const verbs = {
    cmp: ['restore each file from its shares and compare it with the replica', marks],
    verify: ['check every byte of the shares', marks],
    check: ['check headers and lengths of the shares', 'Marks are those of scan.'],
  } as const;
  for (const [name, [summary, details]] of Object.entries(verbs)) {
    addVerb(group, name, {
      summary,
      details: `${details} Exit code 1 when one is not right.`,
      args: PATHS_ARG,
      options: COMMON_OPTIONS,
      examples: [`holdfast archive ${name}`, `holdfast archive ${name} ~/photos/2024`],
      action: async (session: Session, options: Options, paths: string[]) => {
        return await report(session, options, (archive) => {
          const places = placesOf(session, paths);
          if (name === 'cmp') return archive.compare(places);
          return name === 'verify' ? archive.verify(places) : archive.check(places);
        });
      },
    });
  }
}

function addCommit(group: Verbs): void {
  addVerb(group, 'commit', {
    summary: 'remove replicas that the shares make redundant',
    details:
      'Only after all shares were read from their stores and restored the very file. As many ' +
      'replicas stay as the scheme says (default: 1).',
    args: PATHS_ARG,
    options: { ...COMMON_OPTIONS, ...DRY_RUN },
    examples: ['holdfast archive commit -n', 'holdfast archive commit photos:2019'],
    action: changing((archive, places) => archive.commit(places)),
  });
  addVerb(group, 'discard', {
    summary: 'remove the shares of files that are in a master store',
    args: PATHS_ARG,
    options: { ...COMMON_OPTIONS, ...DRY_RUN },
    examples: ['holdfast archive discard -n photos:drafts'],
    action: changing((archive, places) => archive.discard(places)),
  });
}

function addRestores(group: Verbs): void {
  addVerb(group, 'recover', {
    summary: 'bring lost files back to the master store',
    details: 'From another replica, or from the shares. Overwrites nothing.',
    args: PATHS_ARG,
    options: { ...COMMON_OPTIONS, ...DRY_RUN },
    examples: ['holdfast archive recover ~/photos/2024/a.jpg', 'holdfast archive recover -n'],
    action: changing((archive, places) => archive.recover(places)),
  });
  addVerb(group, 'extract', {
    summary: 'restore files to some other place',
    args: { '<paths...>': PATHS_ARG['[paths...]'].replace(' (default: all)', '') },
    options: { ...COMMON_OPTIONS, ...DRY_RUN, '--to <folder>': 'where to (default: here)' },
    examples: ['holdfast archive extract photos:2024 --to /tmp/photos'],
    action: async (
      session: Session,
      options: Options & { readonly to?: string },
      paths: string[],
    ) => {
      const folder = session.resolve(options.to ?? '.');
      return await report(session, options, (archive) =>
        archive.extract(placesOf(session, paths), folder),
      );
    },
  });
  addVerb(group, 'cat', {
    summary: 'print the content of a file, from whatever there is of it',
    args: { '<path>': 'a file of a store, or scheme:path' },
    options: COMMON_OPTIONS,
    examples: ['holdfast archive cat photos:2024/notes.txt'],
    action: async (session: Session, options: Options, place: string) => {
      await using archive = await openArchive(session, options);
      const { stdout } = session.io;
      await archive.read(placesOf(session, [place])[0]!, (file) =>
        pipeline(createReadStream(file), stdout, { end: false, signal: session.signal }),
      );
    },
  });
}

interface LintOptions extends Options {
  readonly local?: boolean;
}

function addLint(group: Verbs): void {
  const local = { '-l, --local': 'only what is in the folders named, not in those below' };
  addVerb(group, 'lint', {
    summary: 'list shares whose file is in no master store',
    details: 'All master stores must be online: what is on a drive that is away is not gone.',
    args: PATHS_ARG,
    options: { ...COMMON_OPTIONS, ...local },
    examples: ['holdfast archive lint', 'holdfast archive lint -l photos:2024'],
    action: async (session: Session, options: LintOptions, paths: string[]) => {
      const exitCode = await report(session, options, (archive) =>
        archive.lint(placesOf(session, paths), { isLocal: options.local ?? false }),
      );
      if (exitCode !== 0 && !session.isJson) {
        session.note('recover brings these files back; delint removes their shares for good');
      }
      return exitCode;
    },
  });
  addVerb(group, 'delint', {
    summary: 'remove what lint lists',
    details: 'The files cannot be restored any more. See what it would remove with -n first.',
    args: PATHS_ARG,
    options: { ...COMMON_OPTIONS, ...local, ...DRY_RUN },
    examples: ['holdfast archive delint -n', 'holdfast archive delint photos:2024'],
    action: async (session: Session, options: LintOptions, paths: string[]) => {
      const lint = { isLocal: options.local ?? false, removes: true };
      return await report(session, { ...options, isAlone: true }, (archive) =>
        archive.lint(placesOf(session, paths), lint),
      );
    },
  });
}

function addMove(group: Verbs): void {
  addVerb(group, 'move', {
    summary: 'move or rename a file or folder, with its shares',
    details:
      'All stores of the scheme must be online. Interrupted, it is finished by the same command, ' +
      'or undone by the reverse one.',
    args: { '<from>': 'a file or folder', '<to>': 'its new place, or a folder to put it in' },
    options: { ...COMMON_OPTIONS, ...DRY_RUN },
    examples: ['holdfast archive move photos:2024/a photos:2024/b'],
    action: async (session: Session, options: Options, from: string, to: string) =>
      await report(session, { ...options, isAlone: true }, async function* (archive) {
        const [source, target] = placesOf(session, [from, to]);
        yield await archive.move(source!, target!);
      }),
  });
}

interface ValidateOptions extends Options {
  readonly part?: string;
  readonly resplit?: boolean;
}

function addValidate(group: Verbs): void {
  addVerb(group, 'validate', {
    summary: 'check each share by itself against the catalogue',
    details: 'No other share is needed, and no key. Exit code 1 when something is bad.',
    args: PATHS_ARG,
    options: {
      ...COMMON_OPTIONS,
      '--part <m/n>': 'only the m-th of n parts, for n workers',
      '--resplit': 'split a replica again, and compare the shares with what it becomes',
    },
    examples: ['holdfast archive validate', 'holdfast archive validate --part 1/4'],
    action: async (session: Session, options: ValidateOptions, paths: string[]) => {
      const validation = { part: partOf(options.part), resplits: options.resplit ?? false };
      const { part } = validation;
      let count = 0;
      const exitCode = await report(session, options, async function* (archive) {
        for await (const said of archive.validate(placesOf(session, paths), validation)) {
          count += 1;
          yield said;
        }
      });
      const which = part ? `, those of part ${part.index} of ${part.count}` : '';
      if (!session.isJson) session.note(`${plural('file', count)} looked at${which}`);
      return exitCode;
    },
  });
}

function partOf(text: string | undefined): Part | undefined {
  if (text === undefined) return undefined;
  const [index = 0, count = 0] = text.split('/').map((number) => parseCount(number, { min: 1 }));
  if (index <= count && text.split('/').length === 2) return { index, count };
  throw new HoldfastError('HF_BAD_ARGUMENT', `"${text}" is no part; write 1/4, 2/4 and so on`);
}

/** The action of a verb that changes what is at the places named, and takes nothing else. */
function changing(work: (archive: Archive, places: string[]) => AsyncGenerator<Outcome>) {
  return async (session: Session, options: Options, paths: string[]): Promise<number> =>
    await report(session, { ...options, isAlone: true }, (archive) =>
      work(archive, placesOf(session, paths)),
    );
}

/** Prints what happens as it happens; with --json all of it at the end, and what went before it. */
async function report(
  session: Session,
  options: Options,
  work: (archive: Archive) => AsyncGenerator<Outcome>,
): Promise<number> {
  await using _ = await holdArchive(session, options);
  using bar = new ProgressBar(session.io, 'archive');
  await using archive = await openArchive(session, options, bar);
  const outcomes: Outcome[] = [];
  try {
    for await (const said of work(archive)) {
      outcomes.push(said);
      if (session.isJson) continue;
      bar.clear();
      session.print(outcomeLine(said, { isDryRun: options.dryRun }));
    }
  } finally {
    if (session.isJson) session.print(JSON.stringify(outcomes));
  }
  if (!session.isJson) session.note(...offlineLines(archive.stores));
  return outcomes.some(({ isFault }) => isFault) ? EXIT_FAULT : 0;
}

async function warnOfNoKey(session: Session, options: Options): Promise<void> {
  if (await existingShareKey(session, options)) return;
  session.note(
    `holdfast: warning: the shares are sealed, and there is no key file in ${session.dataPath}: ` +
      'nobody can restore them without it',
  );
}

/** `scheme:path` stays; a file whose name has a colon is named as ./a:b. */
function placesOf(session: Session, places: readonly string[]): string[] {
  return places.map((place) => (/^[\w.-]+:/.test(place) ? place : session.resolve(place)));
}
