/**
 * Who codes a stripe that lies in a slot: this thread, or a pool of workers over the same memory.
 * Requests name the slot; no content travels in messages.
 */
import { schemeOfNumber, schemeNumber, type Scheme, type StripeId } from '../base/index.ts';
import { CodecMemory, SCRATCH_BYTES } from '../codec/index.ts';
import { siblingModule, WorkerPool } from '../env/index.ts';
import {
  decodeStripe,
  encodeStripe,
  type EncodeResult,
  goodChunks,
  rebuildChunks,
} from './coding.ts';
import { chunkViews, contentArea, GAP_BYTES, scratchOffset, type SlabPlan } from './slab.ts';
import { type StripeShape, stripeShape } from './shape.ts';

interface SlotShape {
  readonly slot: number;
  readonly schemeNumber: number;
  readonly contentBytes: number;
}

export type CodingRequest =
  | ({
      readonly kind: 'encode';
      readonly secret: Uint8Array | undefined;
      readonly randomKey: Uint8Array;
    } & SlotShape)
  | ({
      readonly kind: 'decode';
      readonly key: Uint8Array;
      readonly present: readonly number[];
    } & SlotShape)
  | ({ readonly kind: 'check'; readonly present: readonly number[] } & RawChunks)
  | ({
      readonly kind: 'rebuild';
      readonly present: readonly number[];
      readonly wanted: readonly number[];
    } & RawChunks);

/** Chunks of a stripe whose content length is not known: repair sees only headers. */
interface RawChunks {
  readonly slot: number;
  readonly stripe: Uint8Array;
  readonly schemeNumber: number;
  readonly headerBytes: number;
  readonly chunkBytes: number;
}

export type CodingResult = EncodeResult | readonly number[] | undefined;

/** Carries out one request in this thread. */
export function runCoding(
  plan: SlabPlan,
  memory: CodecMemory,
  request: CodingRequest,
): CodingResult {
  const scheme = schemeOfNumber(request.schemeNumber);
  if (request.kind === 'check' || request.kind === 'rebuild') {
    return runOnRawChunks(plan, memory, { ...request, scheme });
  }
  const shape = stripeShape(scheme, request.contentBytes);
  const area = contentArea(plan, request.slot);
  const chunks = chunkViews(plan, request.slot, shape);
  if (request.kind === 'encode') {
    const { secret, randomKey } = request;
    const content = area.subarray(GAP_BYTES);
    return encodeStripe(memory, { shape, content, area, chunks, secret, randomKey });
  }
  const present = chunks.map((chunk, index) =>
    request.present.includes(index) ? chunk : undefined,
  );
  decodeStripe(memory, { shape, key: request.key, chunks: present, area });
  return undefined;
}

function runOnRawChunks(
  plan: SlabPlan,
  memory: CodecMemory,
  request: Extract<CodingRequest, RawChunks> & { scheme: Scheme },
): readonly number[] | undefined {
  const { scheme, slot, chunkBytes, headerBytes, present } = request;
  const stripe = request.stripe as StripeId;
  const chunks = chunkViews(plan, slot, { scheme, chunkBytes });
  if (request.kind === 'check') {
    const held = chunks.map((chunk, index) => (present.includes(index) ? chunk : undefined));
    return goodChunks(stripe, scheme, held);
  }
  rebuildChunks(memory, { stripe, scheme, headerBytes, chunks, present, wanted: request.wanted });
  return undefined;
}

export interface StripeCoder extends AsyncDisposable {
  encode(
    slot: number,
    shape: StripeShape,
    keys: { secret: Uint8Array | undefined; randomKey: Uint8Array },
  ): Promise<EncodeResult>;
  /** @throws HF_FORGED, HF_TOO_FEW_SHARDS. */
  decode(
    slot: number,
    shape: StripeShape,
    from: { key: Uint8Array; present: readonly number[] },
  ): Promise<void>;
  /** Which of the present chunks are what their ids say. */
  check(raw: RawStripe, present: readonly number[]): Promise<readonly number[]>;
  /** @throws HF_CORRUPT, HF_TOO_FEW_SHARDS. */
  rebuild(
    raw: RawStripe,
    from: { present: readonly number[]; wanted: readonly number[] },
  ): Promise<void>;
}

export interface RawStripe {
  readonly slot: number;
  readonly stripe: StripeId;
  readonly scheme: Scheme;
  readonly headerBytes: number;
  readonly chunkBytes: number;
}

function coderOver(
  run: (request: CodingRequest) => Promise<CodingResult>,
  close: () => Promise<void>,
): StripeCoder {
  const rawRequest = ({ scheme, ...raw }: RawStripe): RawChunks => ({
    ...raw,
    schemeNumber: schemeNumber(scheme),
  });
  const slotShape = (slot: number, shape: StripeShape): SlotShape => ({
    slot,
    schemeNumber: schemeNumber(shape.scheme),
    contentBytes: shape.contentBytes,
  });
  return {
    encode: async (slot, shape, keys) =>
      (await run({ kind: 'encode', ...slotShape(slot, shape), ...keys })) as EncodeResult,
    decode: async (slot, shape, from) => {
      await run({ kind: 'decode', ...slotShape(slot, shape), ...from });
    },
    check: async (raw, present) =>
      (await run({ kind: 'check', ...rawRequest(raw), present })) as readonly number[],
    rebuild: async (raw, from) => {
      await run({ kind: 'rebuild', ...rawRequest(raw), ...from });
    },
    [Symbol.asyncDispose]: close,
  };
}

function threadMemory(plan: SlabPlan, threadIndex: number): CodecMemory {
  return CodecMemory.over(plan.memory, {
    scratchOffset: scratchOffset(plan, threadIndex),
    scratchBytes: SCRATCH_BYTES,
  });
}

/** Codes in the calling thread: for tests, the simulator and small machines. */
export function inlineCoder(plan: SlabPlan): StripeCoder {
  const memory = threadMemory(plan, 0);
  return coderOver(
    async (request) => runCoding(plan, memory, request),
    async () => {},
  );
}

/** What each worker thread is started with. */
export interface CodingWorkerData {
  readonly plan: SlabPlan;
  readonly nextThread: SharedArrayBuffer;
}

/** Codes in `plan.threadCount` worker threads. */
export function pooledCoder(plan: SlabPlan): StripeCoder {
  const data: CodingWorkerData = { plan, nextThread: new SharedArrayBuffer(4) };
  const pool = new WorkerPool<CodingRequest, CodingResult>({
    module: siblingModule(import.meta.url, './coding-worker'),
    workerCount: plan.threadCount,
    data,
  });
  return coderOver(
    (request) => pool.call(request),
    () => pool[Symbol.asyncDispose](),
  );
}

/** A worker's own codec memory: each takes the next scratch region. */
export function workerMemory({ plan, nextThread }: CodingWorkerData): CodecMemory {
  return threadMemory(plan, Atomics.add(new Int32Array(nextThread), 0, 1));
}
