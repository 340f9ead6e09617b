/**
 * Segments: the files of a directory store, `seg.00000`, `seg.00001`, … Sizes follow from the
 * number alone: 16, 16, 32, 64, … MiB, doubling the device each time up to 1 GiB; from number 7 on
 * each has 1 GiB. So a store on a laptop starts small, and a full disk has few files.
 *
 *   number   0   1   2   3    4    5    6     7     8 …
 *   MiB     16  16  32  64  128  256  512  1024  1024 …
 *   start    0  16  32  64  128  256  512  1024  2048 …
 *
 * The last one of a device may be cut short by the device's capacity.
 */
import { LIMITS } from '../base/index.ts';

const { segmentFileBytesMin, segmentFileBytesMax } = LIMITS;

/** The first segment of full size. */
const FULL_NUMBER = 1 + Math.log2(segmentFileBytesMax / segmentFileBytesMin);

/** Offset in the device at which segment `number` starts. */
export function segmentStart(number: number): number {
  if (number === 0) return 0;
  if (number < FULL_NUMBER) return segmentFileBytesMin * 2 ** (number - 1);
  return segmentFileBytesMax * (number - FULL_NUMBER + 1);
}

export function segmentBytes(number: number): number {
  return segmentStart(number + 1) - segmentStart(number);
}

export function segmentName(number: number): string {
  return `seg.${String(number).padStart(5, '0')}`;
}

/** The number of a segment file, `undefined` for other names. */
export function segmentNumber(name: string): number | undefined {
  return /^seg\.\d{5}$/.test(name) ? Number(name.slice(4)) : undefined;
}
