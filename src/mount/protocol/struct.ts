/**
 * Binary layouts as tables. A *struct* of the protocol is written down as its fields in order with
 * their widths; {@link struct} turns that into offsets, of a type that tells 32 from 64 bits, so
 * that a field cannot be read with the wrong width. Numbers are in the byte order of the machine,
 * and every field lies at a multiple of its width, as in C.
 */
import { assert } from '../../base/index.ts';

/** Offsets in bytes, from the beginning of the struct. */
export type At16 = number & { readonly width?: 2 };
export type At32 = number & { readonly width?: 4 };
export type At64 = number & { readonly width?: 8 };

interface Widths {
  readonly u16: At16;
  readonly u32: At32;
  readonly u64: At64;
}

const WIDTH_BYTES: Readonly<Record<keyof Widths, number>> = { u16: 2, u32: 4, u64: 8 };

export type Struct<Fields extends Readonly<Record<string, keyof Widths>>> = {
  readonly [Name in keyof Fields]: Widths[Fields[Name]];
} & { readonly bytes: number };

/** @param fields in order; none may be called `bytes`. */
export function struct<const Fields extends Readonly<Record<string, keyof Widths>>>(
  fields: Fields,
): Struct<Fields> {
  const offsets: Record<string, number> = {};
  let bytes = 0;
  for (const [name, width] of Object.entries(fields)) {
    assert(bytes % WIDTH_BYTES[width] === 0, `${name} lies at a multiple of its width`);
    offsets[name] = bytes;
    bytes += WIDTH_BYTES[width];
  }
  return { ...offsets, bytes } as Struct<Fields>;
}
