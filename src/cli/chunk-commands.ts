/** `chunk`: Reed–Solomon chunk files, with no node: make, get, verify, repair, plan. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError, LIMITS } from '../base/index.ts';
import type { ChunkFault, ChunkFileScheme, ChunkVerifyResult } from '../shares/index.ts';
import { fields, plural, sizeField } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import {
  assertKeyOrPlain,
  existingShareKey,
  KEY_OPTIONS,
  type KeyOptions,
  shareKey,
} from './share-key.ts';
import {
  EXIT_DEGRADED,
  EXIT_LOST,
  folderList,
  NAME_OPTION,
  onlyNamed,
  plannedSize,
  RESTORE_OPTIONS,
  type RestoreOptions,
  sizeOf,
  verifyEach,
  withOutput,
} from './share-work.ts';
import { parseCount, parseSize } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

export const SCHEME_OPTIONS = {
  '--data-count <count>': 'chunk files that restore; also --data here (default: 10)',
  '--parity <count>': 'chunk files that may be lost (default: 4)',
  '--stripe <size>': 'bytes of the file coded together (default: 10M)',
  '--chunk-size <size>': 'instead of --data: as many as make no chunk file larger than this',
};
export const TARGET_OPTIONS = {
  '--share-targets': 'allow several in one folder of several',
};
const CHUNKS_ARG = { '<chunks...>': 'chunk files, or folders that hold them' };

export interface SchemeOptions {
  readonly dataCount?: string;
  readonly parity?: string;
  readonly stripe?: string;
  readonly chunkSize?: string;
}

/**
 * After `chunk make`, `chunk plan` and `export`, `--data` and a number is a count, as in the tools
 * that these files come from; before them, or with anything else, it is the data directory.
 */
export function dataCountArguments(argv: readonly string[]): string[] {
  const verbAt = argv.findIndex(
    (word, at) =>
      (word === 'export' && argv[at - 1] !== '--data') ||
      (word === 'chunk' && ['make', 'plan'].includes(argv[at + 1] ?? '')),
  );
  if (verbAt < 0) return [...argv];
  return argv.map((word, at) => {
    if (at < verbAt) return word;
    const isCount = word === '--data' && /^\d+$/.test(argv[at + 1] ?? '');
    return isCount ? '--data-count' : word.replace(/^--data=(?=\d+$)/, '--data-count=');
  });
}

export function addChunkCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'chunk', 'Reed–Solomon chunk files of a file, without a node');
  addMake(group);
  addGet(group);
  addVerify(group);
  addRepair(group);
  addPlan(group);
}

interface MakeOptions extends SchemeOptions, KeyOptions {
  readonly targets?: string;
  readonly name?: string;
  readonly shareTargets?: boolean;
}

function addMake(group: Verbs): void {
  addVerb(group, 'make', {
    summary: 'make chunk files of a file; any --data of them restore it',
    details:
      'They are sealed with a key file unless --plain is given; then the data chunk files hold ' +
      'pieces of the file as they are. Prints the paths.',
    args: { '<file>': 'the file' },
    options: {
      '-d, --targets <dirs>':
        'where they go, one to each, with commas between (default: beside it)',
      ...TARGET_OPTIONS,
      '--name <name>': 'before the index in their names (default: that of the file)',
      ...SCHEME_OPTIONS,
      ...KEY_OPTIONS,
    },
    examples: [
      'holdfast chunk make photos.tar -d /mnt/a,/mnt/b,/mnt/c --data 2 --parity 1',
      'holdfast chunk make photos.tar -d out --plain',
    ],
    action: async (session: Session, options: MakeOptions, file: string) => {
      const source = session.resolve(file);
      const sizeBytes = await sizeOf(source);
      assertKeyOrPlain(options);
      const isSealed = !options.plain;
      const scheme = await schemeOf(options, { sizeBytes, isSealed });
      const folders = await makeFolders(session, options, { source, scheme });
      const key = isSealed ? await shareKey(session, options) : undefined;
      const { makeChunkFiles, planChunkFiles } = await import('../shares/index.ts');
      const { stripeBytes } = planChunkFiles({ sizeBytes, isSealed }, scheme);
      if (options.stripe !== undefined && stripeBytes !== scheme.stripeBytes) {
        session.note(
          `holdfast: a stripe is ${sizeField(stripeBytes)} here: blocks are equal and whole`,
        );
      }
      using bar = new ProgressBar(session.io, 'make');
      const name = options.name ?? path.basename(source);
      const made = { file: source, name, folders, scheme, key, signal: session.signal };
      const paths = await makeChunkFiles({ ...made, progress: bar.ofFile });
      bar.clear();
      session.show({ paths }, () => paths.map((made) => session.relative(made)));
    },
  });
}

/** @throws HF_BAD_ARGUMENT when chunk files would share a folder and nobody asked for it. */
export async function makeFolders(
  session: Session,
  { targets: text, shareTargets }: Pick<MakeOptions, 'targets' | 'shareTargets'>,
  { source, scheme }: { source: string; scheme: ChunkFileScheme },
): Promise<string[]> {
  if (text === undefined) return [path.dirname(source)];
  const folders = folderList(session, text);
  const real = await Promise.all(
    folders.slice(0, 255).map((folder) => fs.realpath(folder).catch(() => folder)),
  );
  const distinct = new Set(real).size;
  const count = scheme.dataCount + scheme.parityCount;
  if (folders.length > 1 && !shareTargets && (distinct < count || distinct < folders.length)) {
    const message =
      `${plural('chunk file', count)} in ${plural('folder', distinct)}: losing one would lose ` +
      'several; name more, or add --share-targets';
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  return folders;
}

function addGet(group: Verbs): void {
  addVerb(group, 'get', {
    summary: 'restore the file from its chunk files',
    details: 'Only reads them. The file appears when its digest has been found right.',
    args: CHUNKS_ARG,
    options: RESTORE_OPTIONS,
    examples: [
      'holdfast chunk get -o photos.tar /mnt/a /mnt/b',
      'holdfast chunk get -o photos.tar --name photos.tar /mnt/a /mnt/b',
    ],
    action: async (session: Session, options: RestoreOptions, places: string[]) => {
      const { getFromChunkFiles } = await import('../shares/index.ts');
      using bar = new ProgressBar(session.io, 'get');
      const result = await withOutput(session, options.output, async (output) =>
        getFromChunkFiles({
          paths: await chunkFiles(session, places, options.name),
          output,
          replaces: options.force ?? false,
          key: await existingShareKey(session, options),
          signal: session.signal,
          progress: bar.ofFile,
        }),
      );
      bar.clear();
      const { faults, sizeBytes } = result;
      await warnOfFaults(session, faults);
      if (session.isJson) session.print(JSON.stringify({ sizeBytes, faults }));
    },
  });
}

function addVerify(group: Verbs): void {
  addVerb(group, 'verify', {
    summary: 'check every byte of chunk files and say what is bad or missing',
    details:
      'Needs no key. Exit code 1 when something is bad or missing and can be repaired, 6 when ' +
      'too few are left.',
    args: CHUNKS_ARG,
    options: { '--each': 'each by itself: missing chunk files are no fault', ...NAME_OPTION },
    examples: [
      'holdfast chunk verify /mnt/a /mnt/b /mnt/c',
      'holdfast chunk verify --name photos.tar /mnt/a /mnt/b /mnt/c',
      'holdfast chunk verify --each /mnt/a',
    ],
    action: verifyAll,
  });
}

async function verifyAll(
  session: Session,
  { each = false, name }: { readonly each?: boolean; readonly name?: string },
  places: string[],
): Promise<number> {
  const { groupChunkFiles, verifyChunkFiles } = await import('../shares/index.ts');
  using bar = new ProgressBar(session.io, 'verify');
  const { signal } = session;
  const groups = await groupChunkFiles(await chunkFiles(session, places, name));
  return await verifyEach(session, groups, {
    async verify({ paths }) {
      const result = await verifyChunkFiles(paths, { signal, progress: bar.ofFile });
      bar.clear();
      return { result, exitCode: exitCodeOf(result, each) };
    },
    lines: (result) => verifyLines(session, result, each),
  });
}

function exitCodeOf({ faults, lacking, goodCount, k }: ChunkVerifyResult, each: boolean): number {
  if (faults.length === 0 && (each || lacking.length === 0)) return 0;
  return goodCount < k && !each ? EXIT_LOST : EXIT_DEGRADED;
}

async function verifyLines(
  session: Session,
  { faults, lacking, k, n }: ChunkVerifyResult,
  each: boolean,
): Promise<string[]> {
  const good = `${n - lacking.length} of ${plural('chunk file', n)} good`;
  // By itself: what is elsewhere is no business of this disk.
  const rest = lacking.length > 0 ? `; missing or bad: ${lacking.join(', ')}` : '';
  return [...(await shownFaults(session, faults)), each ? good : `${good}, ${k} needed${rest}`];
}

interface RepairOptions {
  readonly name?: string;
  readonly targets?: string;
  readonly dryRun?: boolean;
}

function addRepair(group: Verbs): void {
  addVerb(group, 'repair', {
    summary: 'make missing and bad chunk files again, as they were',
    details:
      'Needs no key. A bad file is replaced when the new one is whole on its disk; missing ones ' +
      'go to the folders that hold the fewest. Prints the paths.',
    args: CHUNKS_ARG,
    options: {
      '-d, --targets <dirs>': 'where missing ones may go (default: the folders that are named)',
      '-n, --dry-run': 'only say what would be made',
      ...NAME_OPTION,
    },
    examples: ['holdfast chunk repair /mnt/a /mnt/b /mnt/c'],
    action: async (session: Session, options: RepairOptions, places: string[]) => {
      const { repairChunkFiles } = await import('../shares/index.ts');
      using bar = new ProgressBar(session.io, 'repair');
      const { signal } = session;
      const { faults, repaired } = await repairChunkFiles({
        paths: await chunkFiles(session, places, options.name),
        folders: options.targets
          ? folderList(session, options.targets)
          : await foldersOf(session, places),
        isDryRun: options.dryRun ?? false,
        signal,
        progress: bar.ofFile,
      });
      bar.clear();
      await warnOfFaults(session, faults);
      session.show({ faults, repaired }, () => repaired.map((file) => session.relative(file)));
    },
  });
}

interface PlanOptions extends SchemeOptions, KeyOptions {
  readonly size?: string;
}

function addPlan(group: Verbs): void {
  addVerb(group, 'plan', {
    summary: 'print how many chunk files there would be and how large, to the byte',
    args: { '[file]': 'the file; or give --size' },
    options: { '--size <size>': 'of the file', ...SCHEME_OPTIONS, '--plain': 'not sealed' },
    examples: [
      'holdfast chunk plan photos.tar',
      'holdfast chunk plan --size 60G --chunk-size 4G --parity 2',
    ],
    action: async (session: Session, options: PlanOptions, file: string | undefined) => {
      const sizeBytes = await plannedSize(session, file, options.size);
      const { planChunkFiles } = await import('../shares/index.ts');
      const planned = { sizeBytes, isSealed: !options.plain };
      const plan = planChunkFiles(planned, await schemeOf(options, planned));
      session.show(plan, () =>
        fields({
          file: sizeField(plan.sizeBytes),
          'chunk files': `${plan.dataCount} + ${plan.parityCount}`,
          'may be lost': plan.parityCount,
          each: sizeField(plan.chunkFileBytes),
          total: sizeField(plan.totalBytes),
          stripe: sizeField(plan.stripeBytes),
          stripes: plan.stripeCount,
          sealed: plan.isSealed ? 'yes' : 'no',
        }),
      );
    },
  });
}

export async function schemeOf(
  { dataCount, parity, stripe, chunkSize }: SchemeOptions,
  file: { readonly sizeBytes: number; readonly isSealed: boolean },
): Promise<ChunkFileScheme> {
  const shares = await import('../shares/index.ts');
  if (dataCount !== undefined && chunkSize !== undefined) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'give --data or --chunk-size, not both');
  }
  const rest = {
    parityCount: parity === undefined ? shares.CHUNK_FILE_PARITY : parseCount(parity, { min: 1 }),
    stripeBytes: stripe === undefined ? LIMITS.stripeBytesMax : parseSize(stripe),
  };
  if (chunkSize !== undefined) {
    return { ...rest, dataCount: shares.fitDataCount(file, rest, parseSize(chunkSize)) };
  }
  return {
    ...rest,
    dataCount: dataCount === undefined ? shares.CHUNK_FILE_DATA : parseCount(dataCount, { min: 1 }),
  };
}

/** Of places that the user names. @throws HF_NOT_FOUND when none is of the file `name`. */
export async function chunkFiles(
  session: Session,
  places: readonly string[],
  name: string | undefined,
): Promise<string[]> {
  const { findChunkFiles, isChunkNamedFor } = await import('../shares/index.ts');
  const paths = await findChunkFiles(places.map((place) => session.resolve(place)));
  return onlyNamed(paths, name, isChunkNamedFor);
}

/** Folders that are named, and those of files that are named. */
async function foldersOf(session: Session, places: readonly string[]): Promise<string[]> {
  const folders = new Set<string>();
  for (const place of places.map((name) => session.resolve(name))) {
    const stat = await fs.stat(place).catch(() => undefined);
    folders.add(stat?.isDirectory() ? place : path.dirname(place));
  }
  return [...folders];
}

export async function warnOfFaults(session: Session, faults: readonly ChunkFault[]): Promise<void> {
  if (session.isJson || faults.length === 0) return;
  const lines = await shownFaults(session, faults);
  session.note(...lines.map((line) => `holdfast: warning: ${line}`));
}

async function shownFaults(session: Session, faults: readonly ChunkFault[]): Promise<string[]> {
  const { faultLines } = await import('../shares/index.ts');
  return faultLines(faults.map((fault) => ({ ...fault, path: session.relative(fault.path) })));
}
