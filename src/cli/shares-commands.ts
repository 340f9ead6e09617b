/**
 * `shares`: share files of a file, with no node: split, combine, add, verify, plan. What does the
 * work is loaded when a verb needs it: other commands start without it.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import type { CombineResult, ShareScheme, Chunking } from '../shares/index.ts';
import { fields, plural, sizeField, table } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import {
  assertKeyOrPlain,
  KEY_OPTIONS,
  type KeyOptions,
  neededKey,
  shareKey,
} from './share-key.ts';
import { EXIT_DEGRADED, EXIT_LOST, sizeOf } from './share-work.ts';
import { parseCount, parseSize } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

const DEFAULT_K = 3;
const DEFAULT_N = 4;

const SCHEME_OPTIONS = {
  '-k <count>': `shares that restore (default: ${DEFAULT_K})`,
  '-n <count>': `shares in all (default: ${DEFAULT_N})`,
  '--width <bytes>': 'of a unit: 1, 2 or 4; wider ones allow more shares (default: 1)',
};
const CHUNK_OPTIONS = {
  '--chunks <count>': 'cut the file into so many chunks, each with shares of its own',
  '--in-chunk-size <size>': '… into chunks of so many bytes',
  '--out-chunk-size <size>': '… so that what a share file holds is no larger',
  '--out-file-size <size>': '… so that no share file is larger',
};
const SHARES_ARG = { '<shares...>': 'share files, or folders that hold them' };

interface ChunkOptions {
  readonly chunks?: string;
  readonly inChunkSize?: string;
  readonly outChunkSize?: string;
  readonly outFileSize?: string;
}

interface PlanOptions extends ChunkOptions, KeyOptions {
  readonly k?: string;
  readonly n?: string;
  readonly width?: string;
  readonly size?: string;
}

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
      session.show({ paths, ...sizes }, () => relative(session, paths));
    },
  });
}

interface CombineOptions extends KeyOptions {
  readonly output?: string;
}

function addCombine(group: Verbs): void {
  addVerb(group, 'combine', {
    summary: 'restore the file from k of its shares, or more',
    details:
      'Shares beyond k are checked as well. Bad ones are named and done without as long as ' +
      'enough are good. The file appears whole, or not at all.',
    args: SHARES_ARG,
    options: {
      '-o, --output <file>': 'the file to make',
      '--key <file>': KEY_OPTIONS['--key <file>'],
    },
    examples: ['holdfast shares combine -o photos.tar /mnt/a/photos.tar-0.sf /mnt/c /mnt/d'],
    action: async (session: Session, options: CombineOptions, places: string[]) => {
      if (options.output === undefined) {
        throw new HoldfastError('HF_BAD_ARGUMENT', 'name the file to make with -o');
      }
      const { combineShares } = await import('../shares/index.ts');
      using bar = new ProgressBar(session.io, 'combine');
      const result = await combineShares({
        paths: await shareFiles(session, places),
        output: session.resolve(options.output),
        shareKey: () => neededKey(session, options),
        signal: session.signal,
        progress: bar.ofFile,
      });
      if (session.isJson) session.print(JSON.stringify(result));
      else session.note(...warnings(session, result), ...doubts(result));
    },
  });
}

interface AddOptions extends TargetOptions, KeyOptions {
  readonly file?: string;
  readonly count?: string;
  readonly numbers?: string;
}

function addAdd(group: Verbs): void {
  addVerb(group, 'add', {
    summary: 'make more shares; those that are there stay as they are',
    details:
      'From k shares, or with --file from the file itself. A sealed share that is made again ' +
      'under its number is the same, byte by byte. Prints the paths.',
    args: SHARES_ARG,
    options: {
      '--file <file>': 'the file, where it is at hand',
      '--count <count>': 'how many (default: 1)',
      '--numbers <numbers>': 'which, with commas between (default: those after the highest)',
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
      const paths = await shareFiles(session, places);
      const { addShares } = await import('../shares/index.ts');
      using bar = new ProgressBar(session.io, 'add');
      const result = await addShares({
        paths,
        file: options.file === undefined ? undefined : session.resolve(options.file),
        folders: options.targets
          ? await targetFolders(session, options, { count, beside: paths[0]! })
          : undefined,
        count,
        shareNumbers,
        random: realEnv().random,
        shareKey: () => neededKey(session, options),
        signal: session.signal,
        progress: bar.ofFile,
      });
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
    options: { '--key <file>': 'key file that sealed them' },
    examples: ['holdfast shares verify /mnt/a /mnt/b /mnt/c'],
    action: async (session: Session, options: KeyOptions, places: string[]) => {
      const { verifyShares } = await import('../shares/index.ts');
      const result = await verifyShares(await shareFiles(session, places), {
        shareKey: options.key === undefined ? undefined : () => neededKey(session, options),
        signal: session.signal,
      });
      const { chunks, k, bad, isRestorable } = result;
      session.show(result, () => [
        ...warnings(session, result),
        ...chunks.map(({ goodCount, have, isVerified }, index) => {
          const where = chunks.length > 1 ? `chunk ${index}: ` : '';
          const doubt = isVerified || have < k ? '' : ', nothing to check them by';
          return `${where}${plural('good share', goodCount)}, have ${have}, need ${k}${doubt}`;
        }),
        ...(isRestorable ? [] : ['the file cannot be restored from these']),
      ]);
      if (!isRestorable) return EXIT_LOST;
      return bad.length > 0 ? EXIT_DEGRADED : 0;
    },
  });
}

function addPlan(group: Verbs): void {
  addVerb(group, 'plan', {
    summary: 'print how many share files there would be and how large, to the byte',
    args: { '[file]': 'the file; or give --size' },
    options: {
      '--size <size>': 'of the file',
      ...SCHEME_OPTIONS,
      ...CHUNK_OPTIONS,
      '--plain': 'not sealed',
    },
    examples: [
      'holdfast shares plan --out-file-size 700M film.mkv',
      'holdfast shares plan -k 3 -n 4 --size 60MB --plain',
    ],
    action: async (session: Session, options: PlanOptions, file: string | undefined) => {
      if ((file === undefined) === (options.size === undefined)) {
        throw new HoldfastError('HF_BAD_ARGUMENT', 'name a file, or give its --size');
      }
      const size =
        file === undefined ? parseSize(options.size!) : await sizeOf(session.resolve(file));
      const { planShares } = await import('../shares/index.ts');
      const scheme = schemeOf(options);
      const isSealed = !options.plain;
      const plan = planShares({ size, scheme, isSealed, chunking: chunkingOf(options) });
      session.show({ sizeBytes: size, ...scheme, isSealed, ...plan }, () => [
        ...fields({
          file: sizeField(size),
          shares: `${scheme.n}, any ${scheme.k} of them restore`,
          chunks: plan.chunks.length,
          total: sizeField(plan.totalBytes),
          sealed: isSealed ? 'yes' : 'no',
        }),
        '',
        ...table(
          ['chunk', 'from', 'to', 'each share'],
          plan.chunks.map((chunk) =>
            [chunk.chunkNumber, chunk.start, chunk.next, chunk.shareBytes].map(String),
          ),
          { right: ['chunk', 'from', 'to', 'each share'] },
        ),
      ]);
    },
  });
}

function schemeOf({ k, n, width }: PlanOptions): ShareScheme {
  const bytes = parseCount(width ?? '1');
  if (bytes !== 1 && bytes !== 2 && bytes !== 4) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `a unit has 1, 2 or 4 bytes, not ${bytes}`);
  }
  return {
    k: parseCount(k ?? String(DEFAULT_K), { min: 1 }),
    n: parseCount(n ?? String(DEFAULT_N), { min: 1 }),
    width: bytes,
  };
}

function chunkingOf(options: ChunkOptions): Chunking {
  const { chunks, inChunkSize, outChunkSize, outFileSize } = options;
  const size = (text: string | undefined) => (text === undefined ? undefined : parseSize(text));
  return {
    chunkCount: chunks === undefined ? undefined : parseCount(chunks, { min: 1 }),
    inputChunkBytes: size(inChunkSize),
    outputChunkBytes: size(outChunkSize),
    outputFileBytes: size(outFileSize),
  };
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
  const names = targets.split(',').filter((name) => name !== '');
  const folders = names.map((name) => session.resolve(name));
  const real = new Set<string>();
  for (const folder of folders) {
    if (makeTargets) await fs.mkdir(folder, { recursive: true });
    real.add(await fs.realpath(folder));
  }
  if (folders.length === 0 || (real.size < count && !shareTargets)) {
    const message =
      `${plural('share', count)} for ${plural('target', real.size)}: losing one would lose ` +
      'several; name more, or add --share-targets';
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  return shareTargets ? folders : [...real];
}

async function shareFiles(session: Session, places: readonly string[]): Promise<string[]> {
  const { findShareFiles } = await import('../shares/index.ts');
  return await findShareFiles(places.map((place) => session.resolve(place)));
}

function relative(session: Session, paths: readonly string[]): string[] {
  return paths.map((file) => path.relative(session.io.workPath, file));
}

const UNVERIFIED = 'holdfast: warning: unverified: no share beyond k vouches for the file.';

type Named = Pick<CombineResult, 'bad' | 'repeated'>;

function warnings(session: Session, { bad, repeated }: Named): string[] {
  return [...bad, ...repeated].map(({ path: file, reason }) => {
    return `holdfast: warning: ${path.relative(session.io.workPath, file)}: ${reason}`;
  });
}

function doubts({ isVerified, isOneSplit, isSealed }: CombineResult): string[] {
  if (isVerified || isSealed) return [];
  if (isOneSplit) return [UNVERIFIED];
  const reason = 'the shares are of different splits; nothing shows that they are of one file';
  return [`holdfast: warning: unverified: ${reason}`];
}
