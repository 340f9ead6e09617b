/**
 * The fence of a node's session where the references have many cells. It comes from one key of the
 * registry, `session/<node>` → u8 1 | fence u64, so that no two runs of a node have the same; then
 * it is raised in every cell, each of which ends the node's older sessions by itself.
 */
import * as v from 'valibot';
import { ByteReader, ByteWriter, errorCode } from '../../base/index.ts';
import type { Registry } from '../../log/index.ts';
import type { Overlay } from '../cells/overlay.ts';
import { decodeNumber, encodeNumber } from '../cells/rows.ts';
import { sessionKey } from '../references/reference-rows.ts';
import type { Session } from '../references/references.ts';
import { type CellMethod, changes, whole } from '../remote/cell-methods.ts';

const KEY_PREFIX = 'session/';
const RECORD_VERSION = 1;

/** At one cell: the highest fence that the node has had there by now. */
export const RAISE_FENCE: CellMethod<[string, number], number> = changes(
  v.tuple([v.string(), whole]),
  whole,
  { merge: (fences) => Math.max(...fences) },
);

export function raiseFence(rows: Overlay, node: string, fence: number): number {
  const key = sessionKey(node);
  const before = decodeNumber(rows.get(key), 'session row');
  if (before >= fence) return before;
  rows.put(key, encodeNumber(fence));
  return fence;
}

/** @param raise raises the fence in all cells and answers the highest that it found. */
export async function openSession(
  registry: Registry,
  node: string,
  raise: (fence: number) => Promise<number>,
): Promise<Session> {
  for (let atLeast = 1; ;) {
    const fence = await nextFence(registry, node, atLeast);
    const highest = await raise(fence);
    // Cells of before the registry had fences may be ahead of it.
    if (highest === fence) return { id: node, fence };
    atLeast = highest + 1;
  }
}

/** One that nobody has had. */
async function nextFence(registry: Registry, node: string, atLeast: number): Promise<number> {
  const key = KEY_PREFIX + node;
  for (;;) {
    const found = await registry.get(key);
    const fence = Math.max(found ? decodeFence(found.value) + 1 : 1, atLeast);
    const value = new ByteWriter(9).u8(RECORD_VERSION).u64(fence).finish();
    try {
      if ((await registry.compareAndSet(key, found?.version ?? 0, value)) !== undefined) {
        return fence;
      }
    } catch (error) {
      if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
    }
  }
}

function decodeFence(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes, 'session record');
  const version = reader.u8();
  if (version !== RECORD_VERSION) throw reader.corrupt(`version ${version} is not known`);
  const fence = reader.u64();
  reader.end();
  return fence;
}
