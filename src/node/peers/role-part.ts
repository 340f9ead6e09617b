/**
 * How a node of a cluster becomes a metadata node while it runs: it asks until it has the role and
 * the key, keeps both, and tells the others. Each step is durable before the next; who stops in
 * between asks again and is given the same.
 */
import { errorCode, errorMessage } from '../../base/index.ts';
import { takeMetadataRole } from '../../cluster/index.ts';
import { hasRole, ownCertificate } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';
import type { Keeper } from '../keeper.ts';
import type { Whereabouts } from '../metadata/whereabouts.ts';
import type { NetworkPart } from './network-part.ts';

const ASK_EVERY_MS = 3000;

export interface RolePartOptions {
  readonly env: Env;
  readonly keeper: Keeper;
  readonly whereabouts: Whereabouts;
  readonly part: NetworkPart;
  readonly registry: Registry;
}

/** Whether the node has the role, and what it needs for it. */
export function isMetadataNode({ keyring }: Pick<Keeper, 'keyring'>): boolean {
  return keyring.metadataKey !== undefined && hasRole(ownCertificate(keyring), 'metadata');
}

/** Until the node has the role, or `signal` is aborted. */
export async function seekRole(options: RolePartOptions, signal: AbortSignal): Promise<void> {
  const { env, keeper } = options;
  for await (const _ of env.clock.every(ASK_EVERY_MS, { signal })) {
    try {
      if (isMetadataNode(keeper) || (await take(options))) return;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('the metadata role was not given', { reason: errorMessage(error) });
    }
  }
}

async function take(options: RolePartOptions): Promise<boolean> {
  const { env, keeper, whereabouts, part, registry } = options;
  const { network } = part;
  const keyring = () => keeper.keyring;
  const role = await takeMetadataRole({ env, registry, network, keyring });
  if (!role) return false;
  await whereabouts.noteMember();
  await keeper.takeRole(role);
  part.showCertificate();
  env.log.info('this node is a metadata node now');
  return true;
}
