/**
 * Sizes as people write and read them. `M` and `MiB` are 1024², `MB` is 1000². What is printed uses
 * KiB, MiB …, or the decimal units when the size was written with one.
 */
import { HoldfastError } from '../base/index.ts';

const LETTERS = ['', 'K', 'M', 'G', 'T', 'P'] as const;

/** Bytes of a text such as `10M`, `1.5GiB`, `60MB`, `4096`. @throws HF_BAD_ARGUMENT. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGTP])(iB|B)?|B)?$/i.exec(text.trim());
  const [, digits = '', letter = '', ending = ''] = match ?? [];
  const isDecimal = ending.toLowerCase() === 'b';
  const power = LETTERS.indexOf(letter.toUpperCase() as (typeof LETTERS)[number]);
  const bytes = Math.round(Number(digits) * (isDecimal ? 1000 : 1024) ** power);
  if (!match || !Number.isSafeInteger(bytes)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `"${text}" is no size; write 4096, 10M or 1.5GiB`);
  }
  return bytes;
}

/** Whether a size was written in powers of 1000. */
export function isDecimalSize(text: string): boolean {
  return /[KMGTP]B$/i.test(text.trim());
}

/** A whole number. @throws HF_BAD_ARGUMENT. */
export function parseCount(text: string, { min = 0 }: { readonly min?: number } = {}): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count) && count >= min) return count;
  throw new HoldfastError('HF_BAD_ARGUMENT', `"${text}" is no whole number from ${min}`);
}

/** "19.1 MiB", "512 B"; with `isDecimal` "20 MB". */
export function formatSize(
  bytes: number,
  { isDecimal = false }: { readonly isDecimal?: boolean } = {},
): string {
  const base = isDecimal ? 1000 : 1024;
  let value = bytes;
  let power = 0;
  // 1023.96 would be rounded to 1024.0: it is one unit up.
  while (Number(value.toFixed(1)) >= base && power < LETTERS.length - 1) {
    value /= base;
    power += 1;
  }
  const unit = power === 0 ? 'B' : `${LETTERS[power]}${isDecimal ? 'B' : 'iB'}`;
  return `${value.toFixed(1).replace(/\.0$/, '')} ${unit}`;
}
