/**
 * What a store has promised at one moment, chunk by chunk, and what may be found after a power cut
 * then. Records are replaced, never changed, so a snapshot is a copy of the map.
 *
 *   absent ──put──▶ putting ──ack──▶ present ──remove──▶ removing ──ack──▶ absent
 *              refused: absent         │ flipped bit
 *                                      ▼
 *                                   rotten ──put again──▶ present, once acknowledged
 */
import { bytesEqual, errorCode, errorMessage } from '../../src/base/index.ts';
import type { ExtentStore, StoreDescription } from '../../src/store/index.ts';
import type { TestChunk, TestRandom } from '../suites/store-fixtures.ts';

export type PromiseState = 'present' | 'absent' | 'putting' | 'removing' | 'rotten';

export interface Promised {
  readonly state: PromiseState;
  /** The highest that was acknowledged while the chunk is there. */
  readonly generation: number;
}

export type Promises = ReadonlyMap<TestChunk, Promised>;

/** Fields of the superblock: one of these values is found, the last that was acknowledged first. */
export interface Books {
  state: readonly StoreDescription['state'][];
  minBytes: readonly number[];
}

/** What is wrong with the superblock's fields, or `undefined`. */
export function bookViolation(
  { state, minBytes }: Readonly<Books>,
  found: StoreDescription,
): string | undefined {
  if (!state.includes(found.state)) return `the store is ${found.state}, not ${state.join(' or ')}`;
  if (minBytes.includes(found.limits.minBytes)) return undefined;
  return `the minimum is ${found.limits.minBytes} bytes, not ${minBytes.join(' or ')}`;
}

/** Chunks above this are read whole in a few states only, and a page of them in all. */
const ALWAYS_WHOLE_BYTES = 512 * 1024;
const PAGE_BYTES = 4096;
/** A very large chunk is read whole in one state of so many. */
const WHOLE_ONE_IN = 32;

/** What is wrong with the chunk, or `undefined`. Bytes that are not its own are always wrong. */
export async function violationOf(
  store: ExtentStore,
  [chunk, { state, generation }]: readonly [TestChunk, Promised],
  random: TestRandom,
): Promise<string | undefined> {
  const entry = await store.stat(chunk.id);
  if (!entry) {
    const mayBeGone = state === 'absent' || state === 'putting' || state === 'removing';
    return mayBeGone ? undefined : `${state}: ${GONE}`;
  }
  const mayBeBad = state === 'putting' || state === 'rotten';
  if (!entry.isGood) return mayBeBad ? undefined : `${state}: ${BAD}`;
  const wrong = await wrongBytes(store, chunk, { random, mayBeBad: state === 'rotten' });
  if (wrong !== undefined) return `${state}: ${wrong}`;
  if (state === 'absent') return `${state}: ${BACK}`;
  const isYounger = state === 'putting' || entry.generation >= generation;
  return isYounger ? undefined : `${state}: ${OLDER}`;
}

const GONE = 'the chunk is gone';
const BAD = 'the chunk is bad';
const BACK = 'the chunk is back';
const OLDER = 'the chunk has an older generation';
/** Nothing wrong comes out: the bytes of a put that was not acknowledged were not there. */
const CORRUPT = 'listed as good, but ';

/** Whether a mount that reports damage excuses it; it never excuses wrong bytes. */
export function isLoss(violation: string): boolean {
  return [GONE, BAD, BACK, OLDER, CORRUPT].some((loss) => violation.includes(loss));
}

async function wrongBytes(
  store: ExtentStore,
  { id, bytes }: TestChunk,
  { random, mayBeBad }: { readonly random: TestRandom; readonly mayBeBad: boolean },
): Promise<string | undefined> {
  const isWhole = bytes.length <= ALWAYS_WHOLE_BYTES || random.below(WHOLE_ONE_IN) === 0;
  const offset = isWhole ? 0 : random.below(bytes.length - PAGE_BYTES);
  const lengthBytes = isWhole ? bytes.length : PAGE_BYTES;
  try {
    const read = await store.get(id, { offset, lengthBytes });
    const isEqual = read && bytesEqual(read, bytes.subarray(offset, offset + lengthBytes));
    return isEqual ? undefined : 'the chunk has other bytes';
  } catch (error) {
    if (errorCode(error) === 'HF_CORRUPT' && mayBeBad) return undefined;
    return `${CORRUPT}${errorMessage(error).replace(/^[0-9a-f]+: /, '')}`;
  }
}
