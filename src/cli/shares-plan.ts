/** How the shares of a file will be: the options that say it, and `shares plan`. */
import { HoldfastError } from '../base/index.ts';
import type { Chunking, ShareScheme } from '../shares/index.ts';
import { fields, sizeField, table } from './output.ts';
import type { Session } from './session.ts';
import type { KeyOptions } from './share-key.ts';
import { plannedSize } from './share-work.ts';
import { parseCount, parseSize } from './sizes.ts';
import { addVerb, type Verbs } from './verbs.ts';

const DEFAULT_K = 3;
const DEFAULT_N = 4;

export const SCHEME_OPTIONS = {
  '-k <count>': `shares that restore (default: ${DEFAULT_K})`,
  '-n <count>': `shares in all (default: ${DEFAULT_N})`,
  '--width <bytes>': 'of a unit: 1, 2 or 4; wider ones allow more shares (default: 1)',
};
export const CHUNK_OPTIONS = {
  '--chunks <count>': 'cut the file into so many chunks, each with shares of its own',
  '--in-chunk-size <size>': '… into chunks of so many bytes',
  '--out-chunk-size <size>': '… so that what a share file holds is no larger',
  '--out-file-size <size>': '… so that no share file is larger',
};

interface ChunkOptions {
  readonly chunks?: string;
  readonly inChunkSize?: string;
  readonly outChunkSize?: string;
  readonly outFileSize?: string;
}

export interface PlanOptions extends ChunkOptions, KeyOptions {
  readonly k?: string;
  readonly n?: string;
  readonly width?: string;
  readonly size?: string;
}

export function addPlan(group: Verbs): void {
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
      const size = await plannedSize(session, file, options.size);
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

export function schemeOf({ k, n, width }: PlanOptions): ShareScheme {
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

export function chunkingOf(options: ChunkOptions): Chunking {
  const { chunks, inChunkSize, outChunkSize, outFileSize } = options;
  const size = (text: string | undefined) => (text === undefined ? undefined : parseSize(text));
  return {
    chunkCount: chunks === undefined ? undefined : parseCount(chunks, { min: 1 }),
    inputChunkBytes: size(inChunkSize),
    outputChunkBytes: size(outChunkSize),
    outputFileBytes: size(outFileSize),
  };
}
