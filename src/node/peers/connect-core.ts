/**
 * Makes a core one among many: the stores of other nodes become its own, what others change is
 * followed, and the home answers. A node that is alone does none of this; it may begin any time,
 * without a restart.
 */
import type { NodeId, VolumeId } from '../../base/index.ts';
import { BoxKey, type Keyring } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import { tellWhole } from '../../repair/index.ts';
import { type Core, whileOpen } from '../core.ts';
import { type Identity, membersIn } from './members-in.ts';
import { MetadataServing } from './metadata-serving.ts';
import { PeerStores } from './peer-stores.ts';
import type { Serving } from './serving.ts';
import type { GrantedSecrets } from '../volumes/volume-set.ts';

export interface ConnectCoreOptions {
  readonly env: Env;
  readonly core: Core;
  readonly network: Network;
  readonly serving: Serving;
  readonly identity: Identity;
}

/** Once for each core. Disposing ends it; the core is to be disposed before. */
export async function connectCore(options: ConnectCoreOptions): Promise<AsyncDisposable> {
  const { env, core, network, serving } = options;
  const { cluster } = core;
  await using stack = new AsyncDisposableStack();
  // Closed last: what the home does for others uses them.
  const peers = core.metadata.peers ?? stack.use(new PeerStores({ env, network, cluster }));
  const metadata = stack.use(new MetadataServing(options));
  await metadata.settle();
  stack.use(whileOpen((signal) => metadata.follow(signal)));
  core.connect(peers, async (groups, epoch) => {
    serving.wholeEpochs.raise(groups, epoch);
    const nodes = new Set(peers.alive().map(({ id }) => cluster.nodeOf(id)));
    const others = [...nodes].filter((node) => node !== undefined);
    await tellWhole(network, others, { groups, epoch });
  });
  const resources = stack.move();
  return { [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

export interface MemberGrantsOptions {
  readonly env: Env;
  readonly self: NodeId;
  readonly registry: Registry;
  /** As of the call. */
  readonly keyring: () => Pick<Keyring, 'clusterId' | 'clusterPublicKey' | 'nodeSeed'>;
}

/** Secrets of volumes by way of the registry. Who is no member yet shares with nobody. */
export function memberGrants(options: MemberGrantsOptions): GrantedSecrets {
  const { env, self, registry, keyring } = options;
  const { members, grants } = membersIn({ env, registry, identity: keyring() });
  return {
    async share(volume: VolumeId, secret: Uint8Array) {
      // Its own first: who holds a volume may grant it.
      if (await members.get(self)) await grants.grant(volume, self, secret);
      await grants.grantDefaults(new Map([[volume, secret]]));
    },
    collect: () => grants.collect(self, BoxKey.ofNode(keyring().nodeSeed)),
  };
}
