/**
 * Which node is the home, as the registry has it: `home` → u8 2 | node 16 | generation u32. While
 * the metadata is in the log of one node, that one writes it when it opens: whoever finds another
 * node there has that node's log, and must not go on from it unless its user recovers the cluster
 * with the kit. In a ring the home is whom the record names (home-seat.ts).
 *
 * The *generation* of a home: 1 for the node that began the cluster, one more for each that took
 * over. Records of version 1 have none and are of generation 1.
 */
import { ByteReader, ByteWriter, fromHex, hexId, type NodeId } from '../../base/index.ts';
import type { Registry } from '../../log/index.ts';

const KEY = 'home';
const RECORD_VERSION = 2;

export interface HomeRecord {
  readonly node: NodeId;
  readonly generation: number;
}

/** `undefined` in clusters that no release with this record has opened. @throws HF_CORRUPT. */
export async function readHome(registry: Registry): Promise<NodeId | undefined> {
  return (await readHomeRecord(registry))?.node;
}

/** As {@link readHome}. */
export async function readHomeRecord(registry: Registry): Promise<HomeRecord | undefined> {
  const stored = await registry.get(KEY);
  return stored && decode(stored.value);
}

/** From now on it is this node: of the next generation when another one was it. */
export async function writeHome(registry: Registry, node: NodeId): Promise<void> {
  const stored = await registry.get(KEY);
  const before = stored && decode(stored.value);
  if (before?.node === node) return;
  const value = encode({ node, generation: (before?.generation ?? 0) + 1 });
  await registry.compareAndSet(KEY, stored?.version ?? 0, value);
}

/**
 * From now on it is this node, if it still is as in `before`.
 * @throws HF_UNKNOWN_OUTCOME: reading tells.
 */
export async function takeHome(
  registry: Registry,
  node: NodeId,
  before: HomeRecord | undefined,
): Promise<void> {
  const stored = await registry.get(KEY);
  const now = stored && decode(stored.value);
  if (now?.node !== before?.node || now?.generation !== before?.generation) return;
  const value = encode({ node, generation: (now?.generation ?? 0) + 1 });
  await registry.compareAndSet(KEY, stored?.version ?? 0, value);
}

/** The record among rows that are put together by hand. */
export function homeRow(record: HomeRecord): { readonly key: string; readonly value: Uint8Array } {
  return { key: KEY, value: encode(record) };
}

function encode({ node, generation }: HomeRecord): Uint8Array {
  return new ByteWriter().u8(RECORD_VERSION).raw(fromHex(node)).u32(generation).finish();
}

function decode(bytes: Uint8Array): HomeRecord {
  const reader = new ByteReader(bytes, 'record of the home');
  const version = reader.u8();
  if (version < 1 || version > RECORD_VERSION) throw reader.corrupt('its version is not known');
  const node = hexId<NodeId>(reader.raw(16));
  const generation = version === 1 ? 1 : reader.u32();
  reader.end();
  return { node, generation };
}
