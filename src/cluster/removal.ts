/**
 * How a node ceases to be a member: its certificates are revoked, its devices put out of the
 * topology, its grants taken back, its record forgotten. Who is removed, dead or hostile, is
 * revoked first; who leaves by its own wish, drained, is revoked last, since it needs the registry
 * until then. Every step can be repeated: what was interrupted is finished by asking again.
 */
import { errorCode, errorMessage, HoldfastError, type NodeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import type { Cluster } from './cluster.ts';
import { isAdmin, type Members } from './members.ts';
import { forgetMetadataKey } from './metadata-role.ts';
import { readRevocations, revoke } from './revocations.ts';
import type { VolumeGrants } from './volume-secrets.ts';

export interface RemovalOptions {
  readonly env: Env;
  readonly registry: Registry;
  readonly cluster: Cluster;
  readonly members: Members;
  readonly grants: VolumeGrants;
  /** What the node was about to store when it went counts as given up from now on. */
  readonly endSession: (node: NodeId) => Promise<void>;
}

/** Lets no more shards come to the devices of a node: the first step of leaving. */
export async function drainNode(
  { cluster }: Pick<RemovalOptions, 'cluster'>,
  node: NodeId,
): Promise<void> {
  await cluster.setNodeDevices(node, 'draining');
}

/**
 * Takes a node out of the cluster. Nodes that are connected learn of it by RevocationFollower.tell.
 * @throws HF_NOT_FOUND when it never was a member; HF_DENIED when it is the last admin node, since
 *   nobody could invite any more.
 */
export async function removeNode(options: RemovalOptions, node: NodeId): Promise<void> {
  const serial = await serialOf(options, node);
  await assertNotLastAdmin(options, node);
  await revokeUpTo(options, node, serial);
  await options.endSession(node);
  await options.cluster.setNodeDevices(node, 'out');
  await options.grants.revokeAll(node);
  await forgetMetadataKey(options, node);
  await options.members.forget(node, serial);
}

/**
 * Takes this node out of the cluster, once its devices have been drained. It is a stranger then.
 * @throws HF_NOT_FOUND when it is no member; HF_DENIED when it is the last admin node, or a volume
 *   is granted to it alone; HF_BUSY when it has changed its mind, and its devices take shards.
 */
export async function leaveCluster(options: RemovalOptions, self: NodeId): Promise<void> {
  const { env, members, grants } = options;
  const serial = await serialOf(options, self);
  await assertNotLastAdmin(options, self);
  const [volume] = await grants.onlyHeldBy(self);
  if (volume !== undefined) {
    const text = `volume ${volume} is granted to this node alone; grant it to another one first`;
    throw new HoldfastError('HF_DENIED', text);
  }
  await options.cluster.refresh();
  if (options.cluster.devicesOf(self).some(({ state }) => state === 'in')) {
    throw new HoldfastError('HF_BUSY', 'stores of this node take shards: drain them first');
  }
  await options.cluster.setNodeDevices(self, 'out');
  await grants.revokeAll(self);
  await forgetMetadataKey(options, self);
  await options.endSession(self);
  await revokeUpTo(options, self, serial);
  // By now the others may refuse this node; a record that is left counts for nothing.
  await members.forget(self, serial).catch((error: unknown) => {
    if (errorCode(error) === undefined) throw error;
    env.log.debug('the own member record was left behind', { reason: errorMessage(error) });
  });
}

/** Of the member record; 0 when it is gone already. @throws HF_NOT_FOUND. */
async function serialOf(options: RemovalOptions, node: NodeId): Promise<number> {
  const stored = await options.members.stored(node);
  if (stored) return stored.certificate.serial;
  const { floors } = await readRevocations(options.registry);
  if (floors.has(node)) return 0;
  throw new HoldfastError('HF_NOT_FOUND', `${node} is no member of this cluster`);
}

/** Voids one serial more than was written down: a certificate may be on its way to the record. */
async function revokeUpTo(options: RemovalOptions, node: NodeId, serial: number): Promise<void> {
  const floor = (await readRevocations(options.registry)).floors.get(node) ?? 0;
  if (serial > floor) await revoke(options, node, serial + 1);
}

async function assertNotLastAdmin({ members }: RemovalOptions, node: NodeId): Promise<void> {
  const admins = (await members.list()).filter(isAdmin);
  const isLast = admins.length === 1 && admins[0]?.certificate.nodeId === node;
  if (!isLast) return;
  throw new HoldfastError('HF_DENIED', `${node} is the last admin node; make another one first`);
}
