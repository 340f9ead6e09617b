/**
 * Rows of the data of one chunk from its shares. Plain shares beyond the k that are decoded are
 * predicted and compared, strip by strip; a share that is found wrong is left out from there on,
 * and what was decoded before stands, since all agreed on it.
 */
import { HoldfastError } from '../base/index.ts';
import { InputFile, type Reporting } from './files.ts';
import { IdaCoder } from './ida-coder.ts';
import { locateWrong } from './locate.ts';
import { runStrips } from './pipeline.ts';
import { independentRows, invertRows, multiplyRows } from './share-field.ts';
import type { Rows, ShareField } from './share-field.ts';
import { pointsOfRows } from './share-points.ts';
import type { BadShare, ChunkShares, Share } from './share-set.ts';
import { settleAll } from './share-writer.ts';

export interface Strip {
  /** In the stream. */
  readonly offset: number;
  readonly bytes: number;
  /** Of each lane. */
  readonly laneBytes: number;
}

export interface DecodeJob {
  readonly field: ShareField;
  readonly chunk: ChunkShares;
  /** Whether more than k shares are read and compared. */
  readonly comparesExtras: boolean;
  /** What is wanted, as rows over the data; the identity is the data itself. */
  readonly wanted: Rows;
  readonly stripBytes: number;
  /** The lanes wanted; what is written later is copied or left alone until it is written. */
  readonly work: (lanes: readonly Uint8Array[], strip: Strip, bank: 0 | 1) => void;
  readonly write: (lanes: readonly Uint8Array[], strip: Strip, bank: 0 | 1) => Promise<void>;
}

export interface DecodeResult {
  readonly bad: readonly BadShare[];
  /** Whether at least one share more than k agreed throughout. */
  readonly isVerified: boolean;
}

/** @throws HF_TOO_FEW_SHARDS, HF_CORRUPT when the shares disagree beyond repair. */
export async function decodeChunk(job: DecodeJob, reporting: Reporting): Promise<DecodeResult> {
  const { field, chunk, wanted, stripBytes } = job;
  const { k } = chunk.shares[0]!.header;
  const chooser = new ShareChooser(job);
  const shares = chooser.shares;
  await using files = new AsyncDisposableStack();
  const inputs: InputFile[] = [];
  for (const share of shares) inputs.push(files.use(await InputFile.open(share.path)));
  const cap = Math.min(
    stripBytes,
    Math.ceil((chunk.next - chunk.start) / k / field.width) * k * field.width,
  );
  const size = Math.max(cap, k * field.width);
  const extraCount = shares.length - k;
  const count = 2 * shares.length + 2 * wanted.length + extraCount;
  const coder = new IdaCoder(field, { count, bytes: size / k });
  const lanes = [...coder.lanes];
  const sources = [lanes.splice(0, shares.length), lanes.splice(0, shares.length)] as const;
  const targets = [lanes.splice(0, wanted.length), lanes.splice(0, wanted.length)] as const;
  const predicted = lanes;
  const stripOf = (index: number): Strip => {
    const offset = chunk.start + index * size;
    const bytes = Math.min(size, chunk.next - offset);
    return { offset, bytes, laneBytes: Math.ceil(bytes / (k * field.width)) * field.width };
  };
  await runStrips(
    Math.ceil((chunk.next - chunk.start) / size),
    {
      async read(index, bank) {
        const { laneBytes } = stripOf(index);
        const reads = inputs.map((input, place) => {
          const offset = shares[place]!.headerBytes + index * (size / k);
          return input.read(sources[bank][place]!.subarray(0, laneBytes), offset);
        });
        await settleAll(reads);
      },
      work(index, bank) {
        const strip = stripOf(index);
        let wrongAt: number | undefined;
        do {
          const { chosen, extras, rows } = chooser;
          coder.transform({
            rows,
            sources: chosen.map((place) => sources[bank][place]!),
            targets: [...targets[bank], ...predicted.slice(0, extras.length)],
            bytes: strip.laneBytes,
          });
          wrongAt = firstDifference(
            extras.map((place) => sources[bank][place]!),
            predicted,
            strip.laneBytes,
          );
          if (wrongAt !== undefined) chooser.exclude(sources[bank], wrongAt);
        } while (wrongAt !== undefined);
        job.work(targets[bank], strip, bank);
      },
      write: (index, bank) => job.write(targets[bank], stripOf(index), bank),
    },
    reporting,
  );
  return { bad: chooser.bad, isVerified: chooser.extras.length > 0 };
}

/** Which shares are decoded, which compared, which left out. */
class ShareChooser {
  /** Those that are read. */
  readonly shares: readonly Share[];
  readonly bad: BadShare[] = [];
  /** Indexes into the shares. */
  chosen: readonly number[] = [];
  extras: readonly number[] = [];
  /** Over the chosen ones: what is wanted, then the extras. */
  rows: Rows = [];
  readonly #field: ShareField;
  readonly #wanted: Rows;
  readonly #wrong = new Set<number>();
  readonly #wrongMax: number;

  constructor({ field, chunk, comparesExtras, wanted }: DecodeJob) {
    this.#field = field;
    this.#wanted = wanted;
    const all = chunk.shares;
    const { k } = all[0]!.header;
    const used = comparesExtras ? all : independentShares(field, all);
    this.shares = used;
    const isCauchy = pointsOfRows(field, rowsOf(used)) !== undefined;
    this.#wrongMax = isCauchy ? Math.floor((used.length - k) / 2) : 0;
    this.#choose();
  }

  /** Leaves out the wrong ones among those that disagree at a byte of their lanes. */
  exclude(lanes: readonly Uint8Array[], byteAt: number): void {
    const { width } = this.#field;
    const at = byteAt - (byteAt % width);
    const present = [...this.chosen, ...this.extras].toSorted((a, b) => a - b);
    const unit = (lane: Uint8Array) =>
      lane.subarray(at, at + width).reduce((value, byte) => value * 256 + byte, 0);
    const wrong = locateWrong(this.#field, {
      rows: present.map((place) => this.shares[place]!.header.row),
      values: present.map((place) => unit(lanes[place]!)),
      wrongMax: this.#wrongMax - this.#wrong.size,
    });
    for (const index of wrong) {
      const place = present[index]!;
      this.#wrong.add(place);
      this.bad.push({ path: this.shares[place]!.path, reason: 'it disagrees with the others' });
    }
    this.#choose();
  }

  #choose(): void {
    const present = [...this.shares.keys()].filter((place) => !this.#wrong.has(place));
    const rows = present.map((place) => this.shares[place]!.header.row);
    const independent = independentRows(this.#field, rows);
    const { k } = this.shares[0]!.header;
    if (independent.length < k) throw tooFew({ have: independent.length, need: k });
    const inverse = invertRows(
      this.#field,
      independent.map((index) => rows[index]!),
    );
    this.chosen = independent.map((index) => present[index]!);
    this.extras = present.filter((place) => !this.chosen.includes(place));
    const extraRows = this.extras.map((place) => this.shares[place]!.header.row);
    this.rows = multiplyRows(this.#field, [...this.#wanted, ...extraRows], inverse!);
  }
}

export function tooFew(counts: { have: number; need: number; details?: string }): HoldfastError {
  const { have, need, details = '' } = counts;
  return new HoldfastError('HF_TOO_FEW_SHARDS', `have ${have}, need ${need}${details}`);
}

/** k shares, or fewer, whose rows are independent. */
export function independentShares(field: ShareField, shares: readonly Share[]): Share[] {
  return independentRows(field, rowsOf(shares)).map((index) => shares[index]!);
}

export function rowsOf(shares: readonly Share[]): Rows {
  return shares.map(({ header }) => header.row);
}

/** The first byte at which one of the lanes is not what was predicted. */
function firstDifference(
  lanes: readonly Uint8Array[],
  predicted: readonly Uint8Array[],
  bytes: number,
): number | undefined {
  for (const [index, lane] of lanes.entries()) {
    const is = Buffer.from(lane.buffer, lane.byteOffset, bytes);
    const other = predicted[index]!;
    const should = Buffer.from(other.buffer, other.byteOffset, bytes);
    if (is.equals(should)) continue;
    return is.findIndex((byte, at) => byte !== should[at]);
  }
  return undefined;
}
