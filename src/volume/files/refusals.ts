/** What is refused to who writes to files. */
import { errorCode, HoldfastError } from '../../base/index.ts';
import type { InodeStatus } from '../../meta/index.ts';

const REFUSALS: readonly (string | undefined)[] = ['HF_NO_SPACE', 'HF_QUOTA', 'HF_WORM'];

/** A failure that does not pass by itself: writes fail with it as soon as it is known. */
export function isRefusal(error: unknown): boolean {
  return REFUSALS.includes(errorCode(error));
}

/** Too many stores or nodes are away now. */
export function isAway(error: unknown): boolean {
  const away: readonly (string | undefined)[] = ['HF_TOO_FEW_STORES', 'HF_UNAVAILABLE'];
  return away.includes(errorCode(error));
}

/** The file is not there any more, or not this writer's. */
export function isGone(error: unknown): boolean {
  const gone: readonly (string | undefined)[] = ['HF_NOT_FOUND', 'HF_FENCED', 'HF_CLOSED'];
  return gone.includes(errorCode(error));
}

/** @throws HF_TOO_LARGE, HF_BAD_ARGUMENT. */
export function checkOffset(offset: number): void {
  if (offset > Number.MAX_SAFE_INTEGER) throw new HoldfastError('HF_TOO_LARGE');
  if (!(offset >= 0)) throw new HoldfastError('HF_BAD_ARGUMENT', 'an offset is not below 0');
}

/**
 * In a protected volume. What is inline cannot be seen to be kept when something is added to it.
 * @throws HF_WORM.
 */
export function checkAdds(committed: InodeStatus, offset: number): void {
  const { objectId, isInline, sizeBytes } = committed;
  if (!objectId && !isInline && offset >= sizeBytes) return;
  throw new HoldfastError('HF_WORM', 'the volume is WORM: content is only added to files');
}
