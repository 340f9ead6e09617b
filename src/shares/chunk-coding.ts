/**
 * What is done to one stripe of chunk files in one thread, without effects: seal, encode, check,
 * decode, open, rebuild. Everything happens in the stripe's slot; requests and answers carry
 * indexes and checksums only.
 */
import { assert, bytesEqual, concatBytes, type Scheme } from '../base/index.ts';
import { type CodecMemory, MATRIX_IDS, openCodec } from '../codec/index.ts';
import {
  CHECKSUM_BYTES,
  type ChunkFileSet,
  type ChunkFileStripe,
  chunkFileStripe,
  sha256,
} from './chunk-format.ts';
import { blockViews, type ChunkSlab, paddedBlockViews, plainView } from './chunk-memory.ts';
import { FileSeal, SEALED_SEGMENT_BYTES, SEGMENT_BYTES, TAG_BYTES } from './file-seal.ts';

/** What a coding thread has to know; plain data. */
export interface ChunkCodingPlan {
  readonly set: ChunkFileSet;
  readonly slab: ChunkSlab;
  /** Of the key file; `undefined` for a plain set, and where nothing is sealed or opened. */
  readonly key: Uint8Array | undefined;
}

interface InSlot {
  readonly stripeIndex: number;
  readonly slot: number;
}

export type ChunkCodingRequest = InSlot &
  (
    | { readonly kind: 'encode' }
    | { readonly kind: 'check'; readonly checksums: ReadonlyMap<number, Uint8Array> }
    | { readonly kind: 'decode'; readonly present: readonly number[] }
    | {
        readonly kind: 'rebuild';
        readonly present: readonly number[];
        readonly wanted: readonly number[];
      }
  );

/** `encode`, `rebuild`: the blocks' checksums, one after the other; `check`: the bad indexes. */
export type ChunkCodingResult = Uint8Array | readonly number[] | undefined;

export class ChunkStripeCoding {
  readonly #plan: ChunkCodingPlan;
  readonly #memory: CodecMemory;
  readonly #scheme: Scheme;
  readonly #seal: FileSeal | undefined;

  constructor(plan: ChunkCodingPlan, memory: CodecMemory) {
    const { k, n, matrixId, envelope } = plan.set;
    assert(matrixId === MATRIX_IDS.vandermonde, 'the matrix is the one we know');
    this.#plan = plan;
    this.#memory = memory;
    this.#scheme = { kind: 'rs', k, n };
    this.#seal = plan.key && FileSeal.fromEnvelope({ key: plan.key, envelope });
  }

  run(request: ChunkCodingRequest): ChunkCodingResult {
    const stripe = chunkFileStripe(this.#plan.set, request.stripeIndex);
    const { slot } = request;
    switch (request.kind) {
      case 'encode':
        return this.#encode(stripe, slot);
      case 'check':
        return this.#check(stripe, slot, request.checksums);
      case 'decode':
        return this.#decode(stripe, slot, request.present);
      case 'rebuild':
        return this.#rebuild(stripe, slot, request);
    }
  }

  #encode(stripe: ChunkFileStripe, slot: number): Uint8Array {
    const blocks = paddedBlockViews(this.#plan.slab, slot, stripe.blockBytes);
    const pieces = this.#pieces(stripe, slot);
    if (this.#seal) this.#sealInto(this.#seal, { stripe, slot, pieces });
    for (const rest of viewsOf(pieces, stripe.contentBytes, Infinity)) rest.fill(0);
    openCodec(this.#scheme, this.#memory).encode(blocks.slice(0, this.#scheme.k), blocks);
    return checksumsOf(blockViews(this.#plan.slab, slot, stripe.blockBytes));
  }

  #sealInto(
    seal: FileSeal,
    { stripe, slot, pieces }: { stripe: ChunkFileStripe; slot: number; pieces: Uint8Array[] },
  ): void {
    const first = stripe.contentOffset / SEALED_SEGMENT_BYTES;
    const segments = Math.ceil(stripe.contentBytes / SEALED_SEGMENT_BYTES);
    const plain = plainView(this.#plan.slab, slot, plainBytesOf(stripe));
    for (let index = 0; index < segments; index++) {
      const segment = plain.subarray(index * SEGMENT_BYTES, (index + 1) * SEGMENT_BYTES);
      const start = index * SEALED_SEGMENT_BYTES;
      const views = viewsOf(pieces, start, start + segment.length + TAG_BYTES);
      const isInOne = views.length === 1;
      const target = isInOne ? views[0]! : new Uint8Array(SEALED_SEGMENT_BYTES);
      seal.sealSegment(first + index, segment, target);
      if (!isInOne) copyInto(views, target);
    }
  }

  #check(
    stripe: ChunkFileStripe,
    slot: number,
    checksums: ReadonlyMap<number, Uint8Array>,
  ): number[] {
    const blocks = blockViews(this.#plan.slab, slot, stripe.blockBytes);
    return [...checksums]
      .filter(([index, checksum]) => !bytesEqual(sha256(blocks[index]!), checksum))
      .map(([index]) => index);
  }

  #decode(stripe: ChunkFileStripe, slot: number, present: readonly number[]): undefined {
    const blocks = paddedBlockViews(this.#plan.slab, slot, stripe.blockBytes);
    const { k } = this.#scheme;
    const shards = blocks.map((block, index) => (present.includes(index) ? block : undefined));
    openCodec(this.#scheme, this.#memory).decode(shards, blocks.slice(0, k));
    if (this.#seal) this.#openFrom(this.#seal, stripe, slot);
  }

  #openFrom(seal: FileSeal, stripe: ChunkFileStripe, slot: number): void {
    const pieces = this.#pieces(stripe, slot);
    const first = stripe.contentOffset / SEALED_SEGMENT_BYTES;
    const plain = plainView(this.#plan.slab, slot, plainBytesOf(stripe));
    for (let start = 0, index = 0; start < stripe.contentBytes; index++) {
      const end = Math.min(start + SEALED_SEGMENT_BYTES, stripe.contentBytes);
      const sealed = Buffer.concat(viewsOf(pieces, start, end));
      plain.set(seal.openSegment(first + index, sealed), index * SEGMENT_BYTES);
      start = end;
    }
  }

  #rebuild(
    stripe: ChunkFileStripe,
    slot: number,
    { present, wanted }: { present: readonly number[]; wanted: readonly number[] },
  ): Uint8Array {
    const blocks = paddedBlockViews(this.#plan.slab, slot, stripe.blockBytes);
    const shards = blocks.map((block, index) => (present.includes(index) ? block : undefined));
    // A file that is bad elsewhere may have a good block here, which stays as it is.
    const made = wanted.filter((index) => !present.includes(index));
    const targets = new Map(made.map((index) => [index, blocks[index]!]));
    openCodec(this.#scheme, this.#memory).rebuild(shards, targets);
    const exact = blockViews(this.#plan.slab, slot, stripe.blockBytes);
    return checksumsOf(wanted.map((index) => exact[index]!));
  }

  /** The data blocks: the stripe's content in order, with zeros behind it. */
  #pieces({ blockBytes }: ChunkFileStripe, slot: number): Uint8Array[] {
    return blockViews(this.#plan.slab, slot, blockBytes).slice(0, this.#scheme.k);
  }
}

/** Where a stripe's plain bytes begin in the file, and where they lie in its slot, in order. */
export function plainPart(
  { set, slab }: Pick<ChunkCodingPlan, 'set' | 'slab'>,
  stripe: ChunkFileStripe,
  slot: number,
): { readonly offset: number; readonly views: readonly Uint8Array[] } {
  const { contentOffset, contentBytes, blockBytes } = stripe;
  if (set.envelope.length > 0) {
    const offset = (contentOffset / SEALED_SEGMENT_BYTES) * SEGMENT_BYTES;
    return { offset, views: [plainView(slab, slot, plainBytesOf(stripe))] };
  }
  const blocks = blockViews(slab, slot, blockBytes).slice(0, set.k);
  return { offset: contentOffset, views: viewsOf(blocks, 0, contentBytes) };
}

/** Plain content of a sealed stripe, which holds whole segments. */
function plainBytesOf({ contentBytes }: ChunkFileStripe): number {
  return contentBytes - Math.ceil(contentBytes / SEALED_SEGMENT_BYTES) * TAG_BYTES;
}

/** The checksum at a position of what `encode` and `rebuild` answer, or of a table. */
export function checksumAt(checksums: Uint8Array, position: number): Uint8Array {
  return checksums.subarray(position * CHECKSUM_BYTES, (position + 1) * CHECKSUM_BYTES);
}

function checksumsOf(blocks: readonly Uint8Array[]): Uint8Array {
  return concatBytes(...blocks.map((block) => sha256(block)));
}

/** Views of the pieces that together are the bytes from `start` to `end` of the run. */
function viewsOf(pieces: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  let pieceAt = 0;
  return pieces.flatMap((piece) => {
    const from = Math.max(start - pieceAt, 0);
    const to = Math.min(end - pieceAt, piece.length);
    pieceAt += piece.length;
    return from < to ? [piece.subarray(from, to)] : [];
  });
}

function copyInto(views: readonly Uint8Array[], bytes: Uint8Array): void {
  let offset = 0;
  for (const view of views) {
    view.set(bytes.subarray(offset, offset + view.length));
    offset += view.length;
  }
}
