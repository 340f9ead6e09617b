/**
 * How a snapshot is saved, whatever the engine: its parts first, then the list of all parts, which
 * makes them valid. What nothing lists any more goes.
 */
import { assert, errorCode } from '../base/index.ts';
import {
  extendedParts,
  type Lsn,
  type SaveSnapshotOptions,
  SNAPSHOT_PART_BYTES_MAX,
} from './fenced-log.ts';

export interface SavingParts<Part> extends SaveSnapshotOptions {
  readonly newest: { readonly lsn: Lsn; readonly parts: readonly Part[] } | undefined;
  put(bytes: Uint8Array): Promise<Part>;
  /** Makes the list valid. @throws HF_UNKNOWN_OUTCOME when it may or may not be. */
  commit(parts: readonly Part[]): Promise<void>;
  /** What was saved in vain. Never fails. */
  discard(parts: readonly Part[]): Promise<void>;
  /** What the older snapshot had alone. Never fails. */
  replace(parts: readonly Part[]): Promise<void>;
}

/** @throws HF_NOT_FOUND when there is no such snapshot to extend; what `put` and `commit` throw. */
export async function saveParts<Part>(
  parts: AsyncIterable<Uint8Array>,
  saving: SavingParts<Part>,
): Promise<void> {
  const { newest, extends: extended } = saving;
  const kept = extended === undefined ? [] : extendedParts(newest, extended);
  const saved: Part[] = [];
  let mayBeListed = false;
  try {
    for await (const part of parts) {
      assert(part.length <= SNAPSHOT_PART_BYTES_MAX, 'a part fits its limit');
      saved.push(await saving.put(part));
    }
    mayBeListed = true;
    await saving.commit([...kept, ...saved]);
  } catch (error) {
    // While it is in doubt whether they are listed, they stay; so they do after a bug of ours.
    const code = errorCode(error);
    mayBeListed &&= code === undefined || code === 'HF_UNKNOWN_OUTCOME';
    if (!mayBeListed) await saving.discard(saved);
    throw error;
  }
  if (extended === undefined) await saving.replace(newest?.parts ?? []);
}
