/** Copies a range of one open file into another one. */
import { MiB } from '../../base/index.ts';
import type { FileRange, OpenFile } from './open-file.ts';

const STEP_BYTES = 1 * MiB;

/** Byte for byte. @returns bytes copied. */
export async function copyRange(
  source: OpenFile,
  target: OpenFile,
  { from, offset }: { readonly from: FileRange; readonly offset: number },
): Promise<number> {
  const end = Math.min(from.offset + from.lengthBytes, source.status.sizeBytes);
  const memory = Buffer.allocUnsafeSlow(STEP_BYTES);
  let at = from.offset;
  while (at < end) {
    const range = { offset: at, lengthBytes: Math.min(STEP_BYTES, end - at) };
    const bytes = await source.read(range, { target: memory });
    if (bytes.length === 0) break;
    await target.write(offset + at - from.offset, bytes);
    at += bytes.length;
  }
  return Math.max(0, at - from.offset);
}
