/** What is refused to who writes to files. */
import { errorCode, HoldfastError } from '../../base/index.ts';

const REFUSALS: readonly (string | undefined)[] = ['HF_NO_SPACE', 'HF_QUOTA', 'HF_WORM'];

/** A failure that does not pass by itself: writes fail with it as soon as it is known. */
export function isRefusal(error: unknown): boolean {
  return REFUSALS.includes(errorCode(error));
}

/** @throws HF_TOO_LARGE, HF_BAD_ARGUMENT. */
export function checkOffset(offset: number): void {
  if (offset > Number.MAX_SAFE_INTEGER) throw new HoldfastError('HF_TOO_LARGE');
  if (!(offset >= 0)) throw new HoldfastError('HF_BAD_ARGUMENT', 'an offset is not below 0');
}
