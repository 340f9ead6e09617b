/**
 * Writes a WebAssembly module with one function over an imported memory, byte by byte. It knows the
 * instructions that the kernel needs and no others; each method appends one and returns `this`.
 * Source of the numbers: WebAssembly Core Specification 3.0, "Binary Format".
 */

export const VALUE_TYPES = { i32: 0x7f, v128: 0x7b } as const;
export type ValueType = (typeof VALUE_TYPES)[keyof typeof VALUE_TYPES];

/** Index of a parameter or local variable of the function. */
export type Local = number;

const VECTOR_PREFIX = 0xfd;
const SECTIONS = { type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
const PAGES_MAX = 65_536;
/** "\0asm" and the version. */
const PREAMBLE = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

export class FunctionBody {
  readonly #parameterCount: number;
  readonly #locals: ValueType[] = [];
  readonly #code: number[] = [];

  /** @param parameterCount all of type i32; there is no result. */
  constructor(parameterCount: number) {
    this.#parameterCount = parameterCount;
  }

  get parameterCount(): number {
    return this.#parameterCount;
  }

  local(type: ValueType): Local {
    return this.#parameterCount + this.#locals.push(type) - 1;
  }

  locals(count: number, type: ValueType): Local[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  get(local: Local): this {
    return this.#emit(0x20, ...unsigned(local));
  }
  set(local: Local): this {
    return this.#emit(0x21, ...unsigned(local));
  }
  /** Sets and keeps the value on the stack. */
  tee(local: Local): this {
    return this.#emit(0x22, ...unsigned(local));
  }

  i32Const(value: number): this {
    return this.#emit(0x41, ...signed(value));
  }
  i32Add(): this {
    return this.#emit(0x6a);
  }
  i32LessUnsigned(): this {
    return this.#emit(0x49);
  }
  i32Load(offset: number): this {
    return this.#emit(0x28, 2, ...unsigned(offset));
  }

  /** Begins a loop; `repeatIf` jumps back here. */
  loop(): this {
    return this.#emit(0x03, 0x40);
  }
  repeatIf(): this {
    return this.#emit(0x0d, 0);
  }
  end(): this {
    return this.#emit(0x0b);
  }

  v128Load(offset: number): this {
    return this.#vector(0x00, 0, ...unsigned(offset));
  }
  v128Store(offset: number): this {
    return this.#vector(0x0b, 0, ...unsigned(offset));
  }
  /** All sixteen bytes alike. */
  v128Splat(byte: number): this {
    return this.#vector(0x0c, ...Array.from({ length: 16 }, () => byte));
  }
  v128And(): this {
    return this.#vector(0x4e);
  }
  v128Xor(): this {
    return this.#vector(0x51);
  }
  i16x8ShiftRightUnsigned(): this {
    return this.#vector(0x8d);
  }
  i8x16Swizzle(): this {
    return this.#vector(0x0e);
  }
  /** One machine instruction everywhere; only indices of 16 or more differ between machines. */
  i8x16RelaxedSwizzle(): this {
    return this.#vector(0x100);
  }

  #emit(...bytes: number[]): this {
    this.#code.push(...bytes);
    return this;
  }

  #vector(instruction: number, ...immediates: number[]): this {
    return this.#emit(VECTOR_PREFIX, ...unsigned(instruction), ...immediates);
  }

  /** Declarations of the locals, the code and its end. */
  encode(): number[] {
    return [...vector(this.#locals.map((type) => [1, type])), ...this.#code, 0x0b];
  }
}

/**
 * The module that exports `body` as "run" and imports its memory as "env" "memory".
 * @param isShared must be as the memory is.
 */
export function encodeModule(body: FunctionBody, isShared: boolean): Uint8Array {
  const parameters = Array.from({ length: body.parameterCount }, () => [VALUE_TYPES.i32]);
  const limits = isShared ? [3, 0, ...unsigned(PAGES_MAX)] : [0, 0];
  const code = body.encode();
  return Uint8Array.from([
    ...PREAMBLE,
    ...section(SECTIONS.type, [0x60, ...vector(parameters), 0]),
    ...section(SECTIONS.import, [...name('env'), ...name('memory'), 2, ...limits]),
    ...section(SECTIONS.function, [0]),
    ...section(SECTIONS.export, [...name('run'), 0, 0]),
    ...section(SECTIONS.code, [...unsigned(code.length), ...code]),
  ]);
}

/** A section with one entry. */
function section(id: number, entry: readonly number[]): number[] {
  const content = vector([entry]);
  return [id, ...unsigned(content.length), ...content];
}

function vector(entries: readonly (readonly number[])[]): number[] {
  return [...unsigned(entries.length), ...entries.flat()];
}

function name(text: string): number[] {
  return [...unsigned(text.length), ...Buffer.from(text)];
}

/** LEB128, as all integers of the format. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const isLast = value >= -0x40 && value < 0x40;
  return isLast ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
