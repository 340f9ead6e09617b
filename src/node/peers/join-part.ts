/**
 * Joining a cluster, before the node runs. Every step is durable before the next one, so a join
 * that was interrupted is asked again and finds the same node:
 *
 *   seed → asks the inviter → keyring → members → the node starts as any other
 *
 * The last step needs nothing of this: once the keyring is there, `up` goes on.
 */
import { HoldfastError } from '../../base/index.ts';
import { joinCluster } from '../../cluster/index.ts';
import { decodeInvitation, type Invitation } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import type { DataDirectory } from '../data-directory.ts';
import { Keeper } from '../keeper.ts';
import { openAsStranger, type MakeTransport } from './network-part.ts';
import { type NodeConfig, wishesOf } from '../node-config.ts';

export interface JoinOptions {
  readonly env: Env;
  readonly data: DataDirectory;
  readonly config: NodeConfig;
  /** What `invite` printed. */
  readonly token: string;
  readonly transports?: readonly MakeTransport[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes this data directory that of a member. Nothing is done when it is one already.
 * @returns whether it has become one now.
 * @throws HF_EXISTS when it belongs to another cluster; HF_WRONG_KEY, HF_CORRUPT for what is no
 *   invitation; HF_DENIED when it is not accepted, HF_UNAVAILABLE when nobody answers.
 */
export async function joinFrom(options: JoinOptions): Promise<boolean> {
  const { env, data, config, token, transports, signal } = options;
  const invitation = decodeInvitation(token);
  const known = await data.readKeyring();
  if (known) {
    if (known.clusterId === invitation.clusterId) return false;
    const message =
      `${data.path} belongs to another cluster, ${known.clusterId}; ` +
      'join with a new data directory: --data DIR';
    throw new HoldfastError('HF_EXISTS', message);
  }
  assertNotExpired(invitation, env);
  const nodeSeed = await data.joiningSeed(env);
  await using network = await openAsStranger({ env, nodeSeed, transports });
  const wishes = wishesOf(config);
  const { keyring, members } = await joinCluster({
    network,
    invitation,
    nodeSeed,
    wishes,
    signal,
  });
  // Before the keyring: a member without addresses would find nobody.
  await data.writeCluster({ members });
  await new Keeper(data, keyring).save();
  await data.hasJoined();
  env.log.info('joined a cluster', { clusterId: keyring.clusterId });
  return true;
}

/** By this node's clock, which may be wrong by a little; the inviter's clock decides. */
function assertNotExpired({ expiresAtMs }: Invitation, { clock }: Env): void {
  const SLACK_MS = 24 * 3_600_000;
  if (clock.now() < expiresAtMs + SLACK_MS) return;
  throw new HoldfastError('HF_DENIED', 'the invitation has expired; ask for another');
}
