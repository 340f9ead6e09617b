/**
 * The *revocation list*: certificates that no longer count, though the cluster signed them. For
 * each node it has a *floor*: serials up to it are void. A node that is invited again later gets a
 * certificate above its floor.
 *
 * It is one registry record, `revocations`, that only grows; its version counts the changes:
 *
 *     u8 1 | version u64 | count u32 | each: node 16, floor u64
 */
import {
  ByteReader,
  ByteWriter,
  fromHex,
  hexId,
  HoldfastError,
  LIMITS,
  type NodeId,
} from '../base/index.ts';
import type { Registry } from '../log/index.ts';
import { changeKey, type RegistryAccess } from './change-key.ts';

export interface Revocations {
  /** 0 before the first revocation. */
  readonly version: number;
  readonly floors: ReadonlyMap<NodeId, number>;
}

export const NO_REVOCATIONS: Revocations = { version: 0, floors: new Map() };

const KEY = 'revocations';
const RECORD_VERSION = 1;

export function isRevoked(
  { floors }: Revocations,
  certificate: { readonly nodeId: NodeId; readonly serial: number },
): boolean {
  return certificate.serial <= (floors.get(certificate.nodeId) ?? 0);
}

/** @throws HF_CORRUPT. */
export async function readRevocations(registry: Registry): Promise<Revocations> {
  const stored = await registry.get(KEY);
  return stored ? decodeRevocations(stored.value) : NO_REVOCATIONS;
}

/**
 * Voids the certificates of a node up to `serial`; durable when it resolves.
 * @throws HF_TOO_LARGE when LIMITS.revocationsMax nodes have been revoked.
 */
export async function revoke(
  access: RegistryAccess,
  node: NodeId,
  serial: number,
): Promise<Revocations> {
  return await changeKey(access, KEY, (value) => {
    const before = value ? decodeRevocations(value) : NO_REVOCATIONS;
    if (isRevoked(before, { nodeId: node, serial })) return { result: before };
    const floors = new Map(before.floors).set(node, serial);
    if (floors.size > LIMITS.revocationsMax) {
      const text = `${LIMITS.revocationsMax} nodes have been removed, no more fit the list`;
      throw new HoldfastError('HF_TOO_LARGE', text);
    }
    const after = { version: before.version + 1, floors };
    return { result: after, value: encodeRevocations(after) };
  });
}

export function encodeRevocations({ version, floors }: Revocations): Uint8Array {
  const writer = new ByteWriter().u8(RECORD_VERSION).u64(version).u32(floors.size);
  for (const [node, floor] of floors) writer.raw(fromHex(node)).u64(floor);
  return writer.finish();
}

/** @throws HF_CORRUPT. */
export function decodeRevocations(bytes: Uint8Array): Revocations {
  const reader = new ByteReader(bytes, 'revocation list');
  const recordVersion = reader.u8();
  if (recordVersion !== RECORD_VERSION) throw reader.corrupt('its version is not known');
  const version = reader.u64();
  const count = reader.u32();
  if (count > LIMITS.revocationsMax) throw reader.corrupt('it is too long');
  const floors = new Map<NodeId, number>();
  for (let left = count; left > 0; left--) {
    floors.set(hexId<NodeId>(reader.raw(16)), reader.u64());
  }
  reader.end();
  return { version, floors };
}
