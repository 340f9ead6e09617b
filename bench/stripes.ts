/**
 * Stripes of 4+2 on the stores of seven other processes over mutual TLS on loopback: put, get, get
 * while a holder lags by two seconds, and rebuild of a store that is lost. A get that hedges is
 * measured beside one that asks for one shard more from the start.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import {
  assert,
  type DeviceId,
  hexId,
  mapBounded,
  MiB,
  type NodeId,
  parseScheme,
} from '../src/base/index.ts';
import { type Cluster, openCluster } from '../src/cluster/index.ts';
import { NodeKey } from '../src/crypto/index.ts';
import { type Clock, type Env, realEnv } from '../src/env/index.ts';
import { MemoryRegistry } from '../src/log/index.ts';
import { type Network, parseAddress } from '../src/net/index.ts';
import { type ChunkStore, RemoteChunkStore } from '../src/store/index.ts';
import { openStripes, type StripeRef, type StripeStore } from '../src/stripes/index.ts';
import { type Bench, type BenchRow, interleave, rateRow, seconds } from './harness.ts';
import { openBenchNetwork } from './mux-parts.ts';
import type { BenchStorePorts } from './remote-store-parts.ts';

const SCHEME = parseScheme('rs-4+2');
const STORE_COUNT = 7;
const STRIPE_COUNT = 24;
const AT_ONCE = 4;
const LAG_MS = 2000;
const NODE: NodeId = hexId<NodeId>(new Uint8Array(16).fill(1));

async function openStores(env: Env, network: Network, stack: DisposableStack) {
  const stores: RemoteChunkStore[] = [];
  for (let number = 2; number < 2 + STORE_COUNT; number++) {
    const peer = fileURLToPath(new URL('./store-peer.ts', import.meta.url));
    const child = stack.adopt(fork(peer, [String(number)]), (each) => each.kill());
    const [ports] = (await once(child, 'message')) as [BenchStorePorts];
    const { node } = await network.connect(parseAddress(ports.address));
    const { clock } = env;
    stores.push(new RemoteChunkStore({ clock, network, node, id: ports.device, epoch: () => 1 }));
  }
  return stores;
}

async function clusterOf(env: Env, stores: readonly ChunkStore[]): Promise<Cluster> {
  const registry = new MemoryRegistry();
  const levels = ['server', 'disk'];
  const cluster = await openCluster({ env, registry, node: NODE, tolerance: 2, levels });
  const weightBytes = 2 ** 30;
  await cluster.setDevices(
    stores.map(({ id }) => ({ id, weightBytes, state: 'in', labels: [`server-${id}`, 'disk'] })),
  );
  await cluster.ensureWidth(SCHEME.n);
  return cluster;
}

async function put(stripes: StripeStore): Promise<StripeRef[]> {
  const contentBytes = stripes.contentBytesFor(SCHEME);
  return await mapBounded(Array.from({ length: STRIPE_COUNT }), AT_ONCE, async (_, number) => {
    const buffer = await stripes.lease(SCHEME);
    buffer.content.fill(number);
    using prepared = await stripes.prepare(buffer, contentBytes, { scheme: SCHEME });
    await stripes.spread(prepared, { generation: 1 });
    const { stripe, schemeNumber, key } = prepared;
    return { stripe, schemeNumber, key, contentBytes };
  });
}

/** @returns MB/s. */
async function get(stripes: StripeStore, refs: readonly StripeRef[]): Promise<number> {
  const targets = Array.from({ length: AT_ONCE }, () => new Uint8Array(10 * MiB));
  const took = await seconds(() =>
    mapBounded(refs, AT_ONCE, async (ref) => {
      const target = targets.pop();
      await stripes.read(ref, undefined, { target });
      if (target) targets.push(target);
    }),
  );
  return refs.reduce((sum, { contentBytes }) => sum + contentBytes, 0) / took / 1e6;
}

/** A clock on which the first hedge of each read is at once. */
function eagerClock(clock: Clock): Clock {
  const known = new WeakSet<AbortSignal>();
  return {
    ...clock,
    sleep: async (ms, { signal } = {}) => {
      if (ms > 1000 || !signal || known.has(signal)) return await clock.sleep(ms, { signal });
      known.add(signal);
    },
  };
}

function lagging(store: ChunkStore, clock: Clock): ChunkStore {
  const get: ChunkStore['get'] = async (id, options) => {
    await clock.sleep(LAG_MS, { signal: options?.signal });
    return await store.get(id, options);
  };
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = name === 'get' ? get : Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

export const bench: Bench = async () => {
  const env = realEnv();
  using stack = new DisposableStack();
  await using network = await openBenchNetwork(env, new NodeKey(new Uint8Array(32).fill(1)));
  const remote = await openStores(env, network, stack);
  let alive: readonly ChunkStore[] = remote;
  const cluster = await clusterOf(env, remote);
  const options = { cluster, stores: () => alive, threadCount: 2, slotCount: 8 };
  await using stripes = openStripes({ ...options, env });
  const eagerEnv = { ...env, clock: eagerClock(env.clock) };
  await using eager = openStripes({ ...options, env: eagerEnv });

  const rows: BenchRow[] = [];
  let refs: StripeRef[] = [];
  const putSeconds = await seconds(async () => (refs = await put(stripes)));
  const contentBytes = refs.length * refs[0]!.contentBytes;
  rows.push(rateRow({ name: 'put 4+2', unit: 'MB/s', value: contentBytes / putSeconds / 1e6 }));
  const gets = await interleave({ hedged: () => get(stripes, refs), more: () => get(eager, refs) });
  const peer = 'one shard more from the start';
  const { hedged: value, more: peerValue } = gets;
  rows.push(rateRow({ name: 'get 4+2', unit: 'MB/s', value, peer, peerValue }));

  const slow = cluster.place(refs[0]!.stripe, SCHEME)[0]!;
  alive = remote.map((store) => (store.id === slow ? lagging(store, env.clock) : store));
  for (const name of ['first', 'second', 'third']) {
    const took = await seconds(() => stripes.read(refs[0]!));
    rows.push({ name: `get 10 MiB, a holder lags 2 s: ${name}`, unit: 'ms', value: took * 1000 });
    const range = { offset: 100, lengthBytes: 1000 };
    const ranged = await seconds(() => stripes.read(refs[0]!, range));
    rows.push({ name: `get 1 KB of it: ${name}`, unit: 'ms', value: ranged * 1000 });
  }

  const isLost = (id: DeviceId): boolean => id === slow;
  alive = remote.filter(({ id }) => !isLost(id));
  await cluster.setDevices(
    cluster
      .topology()
      .devices.filter(({ id }) => isLost(id))
      .map((d) => ({ ...d, state: 'out' })),
  );
  let writtenBytes = 0;
  const rebuildSeconds = await seconds(() =>
    mapBounded(refs, AT_ONCE, async (ref) => {
      const report = await stripes.rebuild({ ...ref, generation: 1 });
      assert(report.health.isWhole, 'it is whole again');
      writtenBytes += report.writtenBytes;
    }),
  );
  const rate = writtenBytes / rebuildSeconds / 1e6;
  rows.push({ name: 'rebuild of a lost store, shards', unit: 'MB/s', value: rate });
  return rows;
};
