/**
 * Rows of the data of one chunk from its shares. Plain shares beyond the k that are decoded are
 * predicted and compared, strip by strip; a share that is found wrong is left out from there on,
 * and what was decoded before stands, since all agreed on it.
 */
import { HoldfastError } from '../base/index.ts';
import { faultOf, InputFile, type Reporting } from './files.ts';
import { IdaCoder } from './ida-coder.ts';
import { locateWrong } from './locate.ts';
import { runStrips, type Strip, Strips } from './pipeline.ts';
import { independentRows, invertRows, multiplyRows } from './share-field.ts';
import type { Rows, ShareField } from './share-field.ts';
import { pointsOfRows } from './share-points.ts';
import type { BadShare, ChunkShares, Share } from './share-set.ts';
import { settleAll } from './share-writer.ts';

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
  const { shares } = chooser;
  await using files = new AsyncDisposableStack();
  const inputs: InputFile[] = [];
  for (const share of shares) inputs.push(files.use(await InputFile.open(share.path)));
  const strips = new Strips(chunk, { k, width: field.width, most: stripBytes });
  const count = 2 * shares.length + 2 * wanted.length + shares.length - k;
  const coder = new IdaCoder(field, { count, bytes: strips.laneBytes });
  const lanes = [...coder.lanes];
  const sources = [lanes.splice(0, shares.length), lanes.splice(0, shares.length)] as const;
  const targets = [lanes.splice(0, wanted.length), lanes.splice(0, wanted.length)] as const;
  const predicted = lanes;
  const unread = new Map<number, string>();
  const decode = ({ laneBytes: bytes }: Strip, bank: 0 | 1): number | undefined => {
    const { chosen, extras, rows } = chooser;
    coder.transform({
      rows,
      sources: chosen.map((place) => sources[bank][place]!),
      targets: [...targets[bank], ...predicted.slice(0, extras.length)],
      bytes,
    });
    const given = extras.map((place) => sources[bank][place]!);
    return firstDifference(given, predicted, bytes);
  };
  await runStrips(
    strips,
    {
      async read({ laneOffset, laneBytes }, bank) {
        const reads = inputs.map(async (input, place) => {
          if (unread.has(place)) return;
          const lane = sources[bank][place]!.subarray(0, laneBytes);
          await input
            .read(lane, shares[place]!.headerBytes + laneOffset)
            .catch((error: unknown) => void unread.set(place, faultOf(error, input.path)));
        });
        await settleAll(reads);
      },
      work(strip, bank) {
        for (const [place, reason] of unread) chooser.drop(place, reason);
        for (;;) {
          const wrongAt = decode(strip, bank);
          if (wrongAt === undefined) break;
          chooser.exclude(sources[bank], wrongAt);
        }
        job.work(targets[bank], strip, bank);
      },
      write: (strip, bank) => job.write(targets[bank], strip, bank),
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
  readonly #isCauchy: boolean;
  /** Places of those that disagreed, and of those that could not be read to the end. */
  readonly #wrong = new Set<number>();
  readonly #dropped = new Set<number>();

  constructor({ field, chunk, comparesExtras, wanted }: DecodeJob) {
    this.#field = field;
    this.#wanted = wanted;
    const all = chunk.shares;
    this.shares = comparesExtras ? all : independentShares(field, all);
    this.#isCauchy = pointsOfRows(field, rowsOf(this.shares)) !== undefined;
    this.#choose();
  }

  /** Does without a share from here on. @throws HF_TOO_FEW_SHARDS. */
  drop(place: number, reason: string): void {
    if (this.#dropped.has(place)) return;
    this.#dropped.add(place);
    this.bad.push({ path: this.shares[place]!.path, reason });
    this.#choose();
  }

  /** Leaves out the wrong ones among those that disagree at a byte of their lanes. */
  exclude(lanes: readonly Uint8Array[], byteAt: number): void {
    const { width } = this.#field;
    const at = byteAt - (byteAt % width);
    const present = [...this.chosen, ...this.extras].toSorted((a, b) => a - b);
    const unit = (lane: Uint8Array) =>
      lane.subarray(at, at + width).reduce((value, byte) => value * 256 + byte, 0);
    const { k } = this.shares[0]!.header;
    const readCount = present.length + this.#wrong.size;
    const wrong = locateWrong(this.#field, {
      rows: present.map((place) => this.shares[place]!.header.row),
      values: present.map((place) => unit(lanes[place]!)),
      wrongMax: this.#isCauchy ? Math.floor((readCount - k) / 2) - this.#wrong.size : 0,
    });
    for (const index of wrong) {
      const place = present[index]!;
      this.#wrong.add(place);
      this.bad.push({ path: this.shares[place]!.path, reason: 'it disagrees with the others' });
    }
    this.#choose();
  }

  #choose(): void {
    const present = [...this.shares.keys()].filter(
      (place) => !this.#wrong.has(place) && !this.#dropped.has(place),
    );
    const rows = present.map((place) => this.shares[place]!.header.row);
    const independent = independentRows(this.#field, rows);
    const { k } = this.shares[0]!.header;
    if (independent.length < k) {
      throw tooFew({ have: independent.length, need: k, bad: this.bad });
    }
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

/** @param counts.where of what, when that is not the whole file. */
export function tooFew(counts: {
  readonly have: number;
  readonly need: number;
  readonly where?: string;
  readonly bad: readonly BadShare[];
}): HoldfastError {
  const { have, need, where = '', bad } = counts;
  const names = bad.map(({ path, reason }) => `; ${path}: ${reason}`).join('');
  return new HoldfastError('HF_TOO_FEW_SHARDS', `have ${have}, need ${need}${where}${names}`);
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
