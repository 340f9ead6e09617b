/**
 * `shares`: share files of a file, with no node: split, combine, add, verify, plan. What does the
 * work is loaded when a verb needs it: other commands start without it.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import type { CombineResult, VerifyResult } from '../shares/index.ts';
import { plural } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import {
  assertKeyOrPlain,
  KEY_OPTIONS,
  type KeyOptions,
  neededKey,
  shareKey,
} from './share-key.ts';
import {
  EXIT_DEGRADED,
  EXIT_LOST,
  folderList,
  NAME_OPTION,
  onlyNamed,
  RESTORE_OPTIONS,
  type RestoreOptions,
  verifyEach,
  withOutput,
} from './share-work.ts';
import {
  addPlan,
  CHUNK_OPTIONS,
  chunkingOf,
  type PlanOptions,
  SCHEME_OPTIONS,
  schemeOf,
} from './shares-plan.ts';
import { parseCount } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

const SHARES_ARG = { '<shares...>': 'share files, or folders that hold them' };

interface TargetOptions {
  readonly targets?: string;
  readonly makeTargets?: boolean;
  readonly shareTargets?: boolean;
}

const TARGET_OPTIONS = {
  '--targets <dirs>': 'where they go, one to each, with commas between (default: beside the file)',
  '--make-targets': 'make targets that are missing',
  '--share-targets': 'allow several shares in one target of several',
};

export function addSharesCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'shares', 'share files (.sf) of a file, without a node');
  addSplit(group);
  addCombine(group);
  addAdd(group);
  addVerify(group);
  addPlan(group);
}

interface SplitOptions extends PlanOptions, TargetOptions {
  readonly pattern?: string;
  readonly points?: string;
}

function addSplit(group: Verbs): void {
  addVerb(group, 'split', {
    summary: 'make share files of a file; any k of the n restore it',
    details:
      'They are sealed with a key file unless --plain is given; plain ones are those of ' +
      'gnetraid, hold nothing to check them by, and hide little. Prints the paths.',
    args: { '<file>': 'the file' },
    options: {
      ...SCHEME_OPTIONS,
      ...TARGET_OPTIONS,
      '--pattern <name>': 'of their names: %f file, %c chunk, %s share (default: %f-%s.sf)',
      ...CHUNK_OPTIONS,
      ...KEY_OPTIONS,
      '--points <numbers>': 'with --plain: the matrix, as x1,…,xn,y1,…,yk (default: random)',
    },
    examples: [
      'holdfast shares split -k 3 -n 4 photos.tar --targets /mnt/a,/mnt/b,/mnt/c,/mnt/d',
      'holdfast shares split -k 2 -n 3 --plain notes.txt',
    ],
    action: async (session: Session, options: SplitOptions, name: string) => {
      const file = session.resolve(name);
      const scheme = schemeOf(options);
      assertKeyOrPlain(options);
      if (options.points !== undefined && !options.plain) {
        throw new HoldfastError('HF_BAD_ARGUMENT', '--points is for --plain shares');
      }
      const folders = await targetFolders(session, options, { count: scheme.n, beside: file });
      const { splitFile } = await import('../shares/index.ts');
      using bar = new ProgressBar(session.io, 'split');
      const { paths, ...sizes } = await splitFile({
        file,
        scheme,
        folders,
        namePattern: options.pattern,
        chunking: chunkingOf(options),
        protection: options.plain
          ? { shareKey: undefined, points: numbersOf(options.points), random: realEnv().random }
          : { shareKey: await shareKey(session, options) },
        signal: session.signal,
        progress: bar.ofFile,
      });
      bar.clear();
      session.show({ paths, ...sizes }, () => relative(session, paths));
    },
  });
}

function addCombine(group: Verbs): void {
  addVerb(group, 'combine', {
    summary: 'restore the file from k of its shares, or more',
    details:
      'Shares beyond k are checked as well. Bad ones are named and done without as long as ' +
      'enough are good. The file appears whole, or not at all.',
    args: SHARES_ARG,
    options: RESTORE_OPTIONS,
    examples: [
      'holdfast shares combine -o photos.tar /mnt/a/photos.tar-0.sf /mnt/c /mnt/d',
      'holdfast shares combine -o photos.tar --name photos.tar /mnt/a /mnt/c /mnt/d',
    ],
    action: async (session: Session, options: RestoreOptions, places: string[]) => {
      const { combineShares } = await import('../shares/index.ts');
      using bar = new ProgressBar(session.io, 'combine');
      const result = await withOutput(session, options.output, async (output) =>
        combineShares({
          paths: await shareFiles(session, places, options.name),
          output,
          replaces: options.force ?? false,
          shareKey: () => neededKey(session, options),
          signal: session.signal,
          progress: bar.ofFile,
        }),
      );
      bar.clear();
      if (session.isJson) session.print(JSON.stringify(result));
      else session.note(...warnings(session, result), ...doubts(result));
    },
  });
}

interface AddOptions extends TargetOptions, KeyOptions {
  readonly name?: string;
  readonly file?: string;
  readonly count?: string;
  readonly numbers?: string;
}

function addAdd(group: Verbs): void {
  addVerb(group, 'add', {
    summary: 'make more shares; those that are there stay as they are',
    details:
      'From k shares, or with --file from the file itself. A sealed share that is made again ' +
      'under its number is the same, byte by byte. No folder gets a second share of the file: ' +
      'new ones go to folders that are named and have none, or to --targets. Prints the paths.',
    args: SHARES_ARG,
    options: {
      '--file <file>': 'the file, where it is at hand',
      '--count <count>': 'how many (default: 1)',
      '--numbers <numbers>': 'which, with commas between (default: those after the highest)',
      ...NAME_OPTION,
      ...TARGET_OPTIONS,
      '--key <file>': KEY_OPTIONS['--key <file>'],
    },
    examples: [
      'holdfast shares add photos.tar-*.sf',
      'holdfast shares add --numbers 2 --targets /mnt/new /mnt/a /mnt/b /mnt/d',
    ],
    action: async (session: Session, options: AddOptions, places: string[]) => {
      if (options.count !== undefined && options.numbers !== undefined) {
        throw new HoldfastError('HF_BAD_ARGUMENT', 'give --count or --numbers, not both');
      }
      const shareNumbers = numbersOf(options.numbers);
      const count = shareNumbers?.length ?? parseCount(options.count ?? '1', { min: 1 });
      const paths = await shareFiles(session, places, options.name);
      const { addShares } = await import('../shares/index.ts');
      using bar = new ProgressBar(session.io, 'add');
      const result = await addShares({
        paths,
        file: options.file === undefined ? undefined : session.resolve(options.file),
        folders: options.targets
          ? await targetFolders(session, options, { count, beside: '' })
          : undefined,
        isSpread: !options.shareTargets,
        candidates: await foldersAmong(session, places),
        count,
        shareNumbers,
        random: realEnv().random,
        shareKey: () => neededKey(session, options),
        signal: session.signal,
        progress: bar.ofFile,
      });
      bar.clear();
      const doubt = result.isVerified ? [] : [UNVERIFIED];
      if (!session.isJson) session.note(...warnings(session, result), ...doubt);
      session.show(result, () => relative(session, result.paths));
    },
  });
}

function addVerify(group: Verbs): void {
  addVerb(group, 'verify', {
    summary: 'check every byte of shares, and say which are bad and whether enough are good',
    details:
      'Sealed shares are checked by their sums, which needs no key; with --key also whether ' +
      'somebody without the key altered them. Plain ones are checked against each other, which ' +
      'takes more than k. Exit code 1 when something is bad, 6 when too few are good.',
    args: SHARES_ARG,
    options: { ...NAME_OPTION, '--key <file>': 'key file that sealed them' },
    examples: [
      'holdfast shares verify /mnt/a /mnt/b /mnt/c',
      'holdfast shares verify --name photos.tar /mnt/a /mnt/b /mnt/c',
    ],
    action: verifyAll,
  });
}

async function verifyAll(
  session: Session,
  options: KeyOptions & { readonly name?: string },
  places: string[],
): Promise<number> {
  const { groupShareFiles, verifyShares } = await import('../shares/index.ts');
  const shareKey = options.key === undefined ? undefined : () => neededKey(session, options);
  const groups = await groupShareFiles(await shareFiles(session, places, options.name));
  using bar = new ProgressBar(session.io, 'verify');
  return await verifyEach(session, groups, {
    async verify({ paths }) {
      const result = await verifyShares(paths, {
        shareKey,
        signal: session.signal,
        progress: bar.ofFile,
      });
      bar.clear();
      const exitCode = result.bad.length > 0 ? EXIT_DEGRADED : 0;
      return { result, exitCode: result.isRestorable ? exitCode : EXIT_LOST };
    },
    lines: (result) => verifyLines(session, result),
  });
}

async function verifyLines(session: Session, result: VerifyResult): Promise<string[]> {
  const { rangeName } = await import('../shares/index.ts');
  const { chunks, missing, k, isRestorable } = result;
  const isWhole = chunks.length === 1 && missing.length === 0;
  return [
    ...warnings(session, result),
    ...chunks.map((chunk) => {
      const { goodCount, have, isVerified } = chunk;
      const where = isWhole ? '' : `${rangeName(chunk)}: `;
      const repeats = have < Math.min(k, goodCount) ? `, which count as ${have}` : '';
      const doubt = isVerified || have < k ? '' : ', nothing to check them by';
      return `${where}${plural('good share', goodCount)}${repeats}, ${k} needed${doubt}`;
    }),
    ...missing.map((range) => `${rangeName(range)}: no shares, ${k} needed`),
    ...(isRestorable ? [] : ['the file cannot be restored from these']),
  ];
}

function numbersOf(text: string | undefined): number[] | undefined {
  return text?.split(',').map((number) => parseCount(number));
}

/** @throws HF_BAD_ARGUMENT when shares would have to share a target and nobody asked for it. */
async function targetFolders(
  session: Session,
  { targets, makeTargets, shareTargets }: TargetOptions,
  { count, beside }: { readonly count: number; readonly beside: string },
): Promise<string[]> {
  if (targets === undefined) return [path.dirname(beside)];
  const folders = folderList(session, targets);
  const real = new Set<string>();
  for (const folder of folders) {
    if (makeTargets) await fs.mkdir(folder, { recursive: true });
    real.add(await realFolder(folder));
  }
  if (folders.length === 0 || (real.size < count && !shareTargets)) {
    const message =
      `${plural('share', count)} for ${plural('target', real.size)}: losing one would lose ` +
      'several; name more, or add --share-targets';
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  return shareTargets ? folders : [...real];
}

/** @throws HF_NOT_FOUND, with what helps. */
async function realFolder(folder: string): Promise<string> {
  return await fs.realpath(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause;
    const message = `there is no folder ${folder}; plug it in, or --make-targets makes it`;
    throw new HoldfastError('HF_NOT_FOUND', message, { cause });
  });
}

async function foldersAmong(session: Session, places: readonly string[]): Promise<string[]> {
  const folders: string[] = [];
  for (const place of places.map((name) => session.resolve(name))) {
    const stat = await fs.stat(place).catch(() => undefined);
    if (stat?.isDirectory()) folders.push(place);
  }
  return folders;
}

async function shareFiles(
  session: Session,
  places: readonly string[],
  name?: string,
): Promise<string[]> {
  const { findShareFiles, isNamedFor } = await import('../shares/index.ts');
  const paths = await findShareFiles(places.map((place) => session.resolve(place)));
  return onlyNamed(paths, name, isNamedFor);
}

function relative(session: Session, paths: readonly string[]): string[] {
  return paths.map((file) => session.relative(file));
}

const UNVERIFIED = 'holdfast: warning: unverified: no share beyond k vouches for the file.';

const LOOKS_SEALED =
  'holdfast: warning: this looks sealed or encrypted: if the shares were sealed, their ends have ' +
  'been cut off, and this is not the file.';

type Named = Pick<CombineResult, 'bad' | 'repeated'>;

function warnings(session: Session, { bad, repeated }: Named): string[] {
  return [...bad, ...repeated].map(({ path: file, reason }) => {
    return `holdfast: warning: ${session.relative(file)}: ${reason}`;
  });
}

function doubts(result: CombineResult): string[] {
  return [...(result.looksSealed ? [LOOKS_SEALED] : []), ...splitDoubts(result)];
}

function splitDoubts({ isVerified, isOneSplit, isSealed }: CombineResult): string[] {
  if (isVerified || isSealed) return [];
  if (isOneSplit) return [UNVERIFIED];
  const reason = 'the shares are of different splits; nothing shows that they are of one file';
  return [`holdfast: warning: unverified: ${reason}`];
}
