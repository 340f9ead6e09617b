/**
 * The inner loop: for k sources and up to four targets, target j = Σ coefficient(j, i) × source i
 * over GF(2^8). Unrolled over sources and targets: each pair of counts gets its own function.
 *
 * A product by a fixed coefficient is linear, so it is the XOR of two look-ups: one by the low and
 * one by the high four bits of the byte. A *nibble table* is these 16 + 16 products; a swizzle
 * looks up 16 bytes at once. Plank, Greenan, Miller, "Screaming fast Galois field arithmetic using
 * Intel SIMD instructions", FAST 2013. Coefficients lie in memory, not in the code, so that
 * encoding and every pattern of loss run the same function.
 */
import { encodeModule, FunctionBody, type Local, VALUE_TYPES } from './wasm-emitter.ts';

export const TARGETS_MAX = 4;
export const NIBBLE_TABLE_BYTES = 32;
const VECTOR_BYTES = 16;
/** Two vectors in flight hide the latency of the swizzles; more would spill registers. */
const LANES = 2;
export const STEP_BYTES: number = LANES * VECTOR_BYTES;

export interface KernelShape {
  readonly sourceCount: number;
  readonly targetCount: number;
  /** Whether the memory is shared between threads. */
  readonly isShared: boolean;
  /** `relaxed` is faster where the runtime has it; the bytes are the same. */
  readonly swizzle: 'relaxed' | 'baseline';
}

/**
 * Processes the bytes from `start` to `end` of every source and target, at least one step.
 *
 * @param tables offset of the nibble tables, source by source, within one source target by target.
 * @param sourceList offset of k 32-bit offsets; `targetList` likewise.
 * @param end a whole number of steps after `start`.
 */
export type KernelFunction = (
  ...at: [tables: number, sourceList: number, targetList: number, start: number, end: number]
) => void;

export function emitKernel(shape: KernelShape): Uint8Array {
  const body = new FunctionBody(5);
  const [tables, sourceList, targetList, position, end] = [0, 1, 2, 3, 4];
  const sources = loadOffsets(body, sourceList!, shape.sourceCount);
  const targets = loadOffsets(body, targetList!, shape.targetCount);
  const sums = targets.map(() => body.locals(LANES, VALUE_TYPES.v128));
  const step = new StepEmitter(body, shape, { tables: tables!, position: position!, sums });

  body.loop();
  for (const [index, source] of sources.entries()) step.addSource(source, index);
  for (const [index, target] of targets.entries()) {
    for (let lane = 0; lane < LANES; lane++) {
      body.get(target).get(position!).i32Add();
      body.get(sums[index]![lane]!).v128Store(lane * VECTOR_BYTES);
    }
  }
  body.get(position!).i32Const(STEP_BYTES).i32Add().tee(position!);
  body.get(end!).i32LessUnsigned().repeatIf().end();
  return encodeModule(body, shape.isShared);
}

function loadOffsets(body: FunctionBody, list: Local, count: number): Local[] {
  return body.locals(count, VALUE_TYPES.i32).map((local, index) => {
    body
      .get(list)
      .i32Load(4 * index)
      .set(local);
    return local;
  });
}

interface StepLocals {
  readonly tables: Local;
  readonly position: Local;
  /** Of each target, one for each lane. */
  readonly sums: readonly Local[][];
}

/** Emits what one source adds to the sums of all targets. */
class StepEmitter {
  readonly #body: FunctionBody;
  readonly #shape: KernelShape;
  readonly #locals: StepLocals;
  readonly #low: Local[];
  readonly #high: Local[];
  readonly #table: Local;
  readonly #mask: Local;

  constructor(body: FunctionBody, shape: KernelShape, locals: StepLocals) {
    this.#body = body;
    this.#shape = shape;
    this.#locals = locals;
    this.#low = body.locals(LANES, VALUE_TYPES.v128);
    this.#high = body.locals(LANES, VALUE_TYPES.v128);
    this.#table = body.local(VALUE_TYPES.v128);
    this.#mask = body.local(VALUE_TYPES.v128);
    body.v128Splat(0x0f).set(this.#mask);
  }

  addSource(source: Local, sourceIndex: number): void {
    for (let lane = 0; lane < LANES; lane++) this.#splitNibbles(source, lane);
    for (const [targetIndex, sums] of this.#locals.sums.entries()) {
      const offset = (sourceIndex * this.#shape.targetCount + targetIndex) * NIBBLE_TABLE_BYTES;
      this.#addProducts(sums, { nibbles: this.#low, offset, isFirst: sourceIndex === 0 });
      const high = offset + VECTOR_BYTES;
      this.#addProducts(sums, { nibbles: this.#high, offset: high, isFirst: false });
    }
  }

  #splitNibbles(source: Local, lane: number): void {
    const low = this.#low[lane]!;
    this.#body.get(source).get(this.#locals.position).i32Add();
    this.#body.v128Load(lane * VECTOR_BYTES).tee(low);
    // There is no shift of bytes; what crosses from the neighbour is masked off.
    this.#body.i32Const(4).i16x8ShiftRightUnsigned();
    this.#body.get(this.#mask).v128And().set(this.#high[lane]!);
    this.#body.get(low).get(this.#mask).v128And().set(low);
  }

  #addProducts(
    sums: readonly Local[],
    part: { nibbles: readonly Local[]; offset: number; isFirst: boolean },
  ): void {
    this.#body.get(this.#locals.tables).v128Load(part.offset).set(this.#table);
    for (const [lane, sum] of sums.entries()) {
      if (!part.isFirst) this.#body.get(sum);
      this.#body.get(this.#table).get(part.nibbles[lane]!);
      if (this.#shape.swizzle === 'relaxed') this.#body.i8x16RelaxedSwizzle();
      else this.#body.i8x16Swizzle();
      if (!part.isFirst) this.#body.v128Xor();
      this.#body.set(sum);
    }
  }
}
