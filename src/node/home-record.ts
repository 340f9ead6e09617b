/**
 * Which node carries the metadata, as the registry has it: `home` → u8 1 | node 16. The home writes
 * it when it opens. Whoever finds another node there has that node's log, and must not go on from
 * it unless its user recovers the cluster with the kit.
 */
import { ByteReader, ByteWriter, fromHex, hexId, type NodeId } from '../base/index.ts';
import type { Registry } from '../log/index.ts';

const KEY = 'home';
const RECORD_VERSION = 1;

/** `undefined` in clusters that no release with this record has opened. @throws HF_CORRUPT. */
export async function readHome(registry: Registry): Promise<NodeId | undefined> {
  const stored = await registry.get(KEY);
  if (!stored) return undefined;
  const reader = new ByteReader(stored.value, 'record of the home');
  if (reader.u8() !== RECORD_VERSION) throw reader.corrupt('its version is not known');
  const node = hexId<NodeId>(reader.raw(16));
  reader.end();
  return node;
}

export async function writeHome(registry: Registry, node: NodeId): Promise<void> {
  const stored = await registry.get(KEY);
  const value = new ByteWriter().u8(RECORD_VERSION).raw(fromHex(node)).finish();
  await registry.compareAndSet(KEY, stored?.version ?? 0, value);
}
