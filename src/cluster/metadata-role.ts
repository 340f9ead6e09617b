/**
 * How a member becomes a metadata node: it asks an admin node, which issues its certificate anew,
 * with the role, and puts the metadata key into the registry for it, `metadata-key/<node>`, boxed
 * (boxed-secret.ts). The member finds both there, also when it asked before a crash, and keeps
 * them.
 *
 * Every member may have the role, and gets it unless it does not want it: with it come the log of
 * cells and the registry, no content, and no names, which are sealed with secrets of volumes.
 */
import {
  type ClusterId,
  concatBytes,
  errorCode,
  errorMessage,
  fromHex,
  HoldfastError,
  type NodeId,
  utf8,
} from '../base/index.ts';
import {
  BoxKey,
  type Certificate,
  hasRole,
  issueCertificate,
  type Keyring,
  NodeKey,
  ownCertificate,
  ROLES,
  SigningKey,
} from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import type { Network } from '../net/index.ts';
import { boxedSecret, openBoxedSecret } from './boxed-secret.ts';
import { changeKey, type RegistryAccess } from './change-key.ts';
import { isAdmin, type MemberRecord, Members } from './members.ts';
import { readRevocations } from './revocations.ts';

const METHOD = 'cluster.metadata-role';
const DEADLINE_MS = 10_000;
const PREFIX = 'metadata-key/';
const PURPOSE = utf8('holdfast/1 metadata key');

export interface MetadataRoleOptions {
  readonly env: Env;
  readonly registry: Registry;
  readonly network: Pick<Network, 'self' | 'handle' | 'call'>;
  /** Of this node, as of the call. With the cluster key in it the node gives the role. */
  readonly keyring: () => Keyring;
}

/** What a metadata node has more than another member. */
export interface MetadataRole {
  /** Encoded. */
  readonly certificate: Uint8Array;
  readonly metadataKey: Uint8Array;
}

/** Answers members that ask for the role. */
export function serveMetadataRole(options: MetadataRoleOptions): void {
  options.network.handle(METHOD, {}, async (_, { from }) => {
    await giveMetadataRole(options, from);
    return null;
  });
}

/**
 * Makes a member a metadata node, as far as others are concerned: it is still to find its key.
 * @throws HF_UNSUPPORTED on a node that is no admin node, or no metadata node; HF_DENIED when
 *   `node` is no member.
 */
export async function giveMetadataRole(
  options: Pick<MetadataRoleOptions, 'env' | 'registry' | 'keyring'>,
  node: NodeId,
): Promise<void> {
  const { env, registry } = options;
  const keyring = options.keyring();
  const { clusterKey, metadataKey, clusterId } = keyring;
  if (!clusterKey || !metadataKey) {
    throw new HoldfastError('HF_UNSUPPORTED', 'this node does not hold the keys of the cluster');
  }
  const members = new Members({ env, registry, ...keyring });
  const member = await members.get(node);
  if (!member) throw new HoldfastError('HF_DENIED', `${node} is no member of this cluster`);
  const { certificate } = member;
  if (!hasRole(certificate, 'metadata')) {
    const floor = (await readRevocations(registry)).floors.get(node) ?? 0;
    const serial = Math.max(certificate.serial, floor) + 1;
    const roles = certificate.roles | ROLES.metadata;
    // As old as before: by that members are ordered.
    const issued = { ...certificate, roles, serial };
    await members.put(issueCertificate(new SigningKey(clusterKey), issued), member);
    env.log.info('a node became a metadata node', { node, serial });
  }
  const about = aboutKey(clusterId, node);
  const value = boxedSecret(env, certificate, { about, secret: metadataKey });
  await changeKey({ env, registry }, PREFIX + node, () => ({ result: undefined, value }));
}

/**
 * The role of this node, if it was given or some admin node gives it now.
 * @returns `undefined` when nobody does.
 * @throws HF_UNAVAILABLE when the registry does not answer.
 */
export async function takeMetadataRole(
  options: MetadataRoleOptions,
): Promise<MetadataRole | undefined> {
  const found = await findMetadataRole(options);
  if (found) return found;
  const { env, registry, network, keyring } = options;
  const admins = (await new Members({ env, registry, ...keyring() }).list()).filter(isAdmin);
  for (const { certificate } of admins) {
    if (certificate.nodeId === network.self) continue;
    try {
      await network.call(certificate.nodeId, METHOD, null, { deadlineMs: DEADLINE_MS });
      return await findMetadataRole(options);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('an admin node did not give the metadata role', {
        node: certificate.nodeId,
        reason: errorMessage(error),
      });
    }
  }
  return undefined;
}

/** What the registry holds for this node. A key that does not open is as good as none. */
async function findMetadataRole({
  env,
  registry,
  keyring,
}: MetadataRoleOptions): Promise<MetadataRole | undefined> {
  const own = keyring();
  const { nodeId } = new NodeKey(own.nodeSeed);
  const record = await new Members({ env, registry, ...own }).get(nodeId);
  const stored = await registry.get(PREFIX + nodeId);
  if (!record || !stored || !isNewer(record, ownCertificate(own))) return undefined;
  try {
    const boxKey = BoxKey.ofNode(own.nodeSeed);
    const metadataKey = openBoxedSecret(stored.value, boxKey, aboutKey(own.clusterId, nodeId));
    return { certificate: record.certificateBytes, metadataKey };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    env.log.warn('the metadata key for this node does not open', { reason: errorMessage(error) });
    return undefined;
  }
}

/** Whether it has the role, and is not older than what the node has. */
function isNewer({ certificate }: MemberRecord, own: Certificate): boolean {
  return hasRole(certificate, 'metadata') && certificate.serial >= own.serial;
}

/** Lets go of what the registry holds for a node that is gone. */
export async function forgetMetadataKey(access: RegistryAccess, node: NodeId): Promise<void> {
  await changeKey(access, PREFIX + node, () => ({ result: undefined, value: undefined }));
}

function aboutKey(cluster: ClusterId, node: NodeId): Uint8Array {
  return concatBytes(PURPOSE, fromHex(cluster), fromHex(node));
}
