/**
 * Kept answers of requests (cells/retry-rows.ts) whose session is over. A session is one run of a
 * node: 8 bytes of the node's id ‖ 6 bytes of the time when it began, in ms ‖ 2 random bytes, so
 * that those of a node are found together, and the newest of them is known. What is left of older
 * ones is deleted when a steward first hears of a newer one.
 */
import { asBuffer, fromHex, type NodeId, toHex } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import type { Executor } from '../cells/executor.ts';
import type { Overlay } from '../cells/overlay.ts';
import { prefixRange, rowKey } from '../cells/rows.ts';

const NODE_DIGITS = 16;
const TIME_BYTES = 6;
const SESSION_BYTES = 16;
/** Slots looked through, and rows deleted, in one operation. */
const SLOTS_AT_ONCE = 256;
const ROWS_AT_ONCE = 1000;

export function newSession(node: NodeId, { clock, random }: Env): string {
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(clock.now()));
  return node.slice(0, NODE_DIGITS) + toHex(time.subarray(8 - TIME_BYTES)) + toHex(random.bytes(2));
}

/** Whether a node may speak in the session. */
export function isSessionOf(session: string, node: NodeId): boolean {
  return session.startsWith(node.slice(0, NODE_DIGITS));
}

/** Which sessions a steward has heard of; lets it forget what older ones of the nodes left. */
export class SessionsHeard {
  readonly #newest = new Map<string, string>();

  /** @returns whether it is newer than all that were heard of before, of its node. */
  hear(session: string): boolean {
    const node = session.slice(0, NODE_DIGITS);
    const known = this.#newest.get(node);
    if (known !== undefined && known >= session) return false;
    this.#newest.set(node, session);
    return true;
  }
}

/** Deletes what older sessions of the same node left in these slots. */
export async function forgetOlder(
  cell: Executor,
  session: string,
  { from, to }: SlotRange,
): Promise<void> {
  for (let slot = from; slot < to; slot += SLOTS_AT_ONCE) {
    const slots = { from: slot, to: Math.min(slot + SLOTS_AT_ONCE, to) };
    while (await cell.execute((rows) => forgetWithin(rows, session, slots), { slot })) continue;
  }
}

/** @returns whether there may be more. */
function forgetWithin(rows: Overlay, session: string, { from, to }: SlotRange): boolean {
  const node = fromHex(session.slice(0, NODE_DIGITS));
  let count = 0;
  for (let slot = from; slot < to; slot++) {
    const range = prefixRange(rowKey(slot, 'R', node));
    for (const { key } of rows.range(range)) {
      const kept = asBuffer(key)
        .subarray(3, 3 + SESSION_BYTES)
        .toString('hex');
      if (kept >= session) continue;
      rows.delete(key);
      count += 1;
    }
    if (count >= ROWS_AT_ONCE) return true;
  }
  return false;
}
