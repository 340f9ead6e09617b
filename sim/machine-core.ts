/**
 * Opens the core of a simulated node: alone, as the only machine, or among others, with a network,
 * what it serves, and the care that the daemon takes.
 */
import { type ErrorCode, errorCode, type NodeId } from '../src/base/index.ts';
import { registerSelf } from '../src/cluster/index.ts';
import { NodeKey } from '../src/crypto/index.ts';
import type { Env } from '../src/env/index.ts';
import { gossipMembers, Network, parseAddress } from '../src/net/index.ts';
import {
  connectCore,
  type Core,
  LocalMetadata,
  memberGrants,
  type Metadata,
  openCore,
  openHomeCore,
  RemoteMetadata,
  Serving,
  startCare,
} from '../src/node/index.ts';
import type { Repair } from '../src/repair/index.ts';
import { EpochWatch } from './epoch-watch.ts';
import { eachStore } from './planting.ts';
import { watchRemoves } from './remove-watch.ts';
import { textOf } from './sim-env.ts';
import { aliveStores, type Host, type Life, type Site } from './site.ts';
import { TOLERANCE } from './violation.ts';

export interface Opened {
  readonly core: Core;
  /** As this machine has it: that of the home, or the way to it; with a planted bug perhaps. */
  readonly repair: Repair;
  readonly resources: AsyncDisposable;
}

/** How often a home that did not answer is asked again. */
const RETRY_MS = 1000;
const HOME_AWAY: readonly (ErrorCode | undefined)[] = [
  'HF_UNAVAILABLE',
  'HF_TIMEOUT',
  'HF_UNKNOWN_OUTCOME',
];

export async function openAlone(site: Site, machine: Host, life: Life): Promise<Opened> {
  const { planted, metadataKey } = site;
  const { env } = life.process;
  const core = await openHomeCore({
    env,
    nodeId: machine.id,
    metadataKey,
    secrets: machine.secrets,
    stores: planted.wrapStores(() => aliveStores(life), env),
    devices: machine.devices(),
    tolerance: TOLERANCE,
    openDb: async (cell) => machine.openDb(cell),
    threadCount: 0,
    slotCount: 4,
    wrapReferences: planted.wrapReferences,
  });
  const repair = planted.repairOf({ core, env, stores: () => aliveStores(life), isHome: true });
  return { core, repair, resources: core };
}

/** Tries until the home answers. */
export async function openAmongOthers(site: Site, machine: Host, life: Life): Promise<Opened> {
  const { env } = life.process;
  const open = new AsyncDisposableStack();
  const network = open.use(await openNetwork(site, machine, life));
  const { planted } = site;
  const watched = eachStore((store) => watchRemoves(store, site))(() => aliveStores(life), env);
  const stores = planted.wrapStores(watched, env);
  const home = (): NodeId => site.others!.home();
  const watch = new EpochWatch({
    network,
    isHeeded: planted.isEpochHeeded,
    onOldPut: (epoch, oldest) =>
      site.report(`a put of epoch ${epoch} was taken, its group was whole at ${oldest}`),
  });
  const serving = new Serving({
    env,
    network: planted.wrapServed({ network: watch, home }),
    stores: machine.isHome ? stores : planted.wrapServedStores(stores, env),
    home,
  });
  for (;;) {
    try {
      const parts = { site, machine, life, network, serving, stores };
      const { core, repair, resources } = await openConnected(parts);
      open.use(resources);
      return { core, repair, resources: open };
    } catch (error) {
      if (machine.isHome || !HOME_AWAY.includes(errorCode(error))) throw error;
      machine.note(`waits for the home: ${textOf(error)}`);
      await env.clock.sleep(RETRY_MS);
    }
  }
}

async function openNetwork(site: Site, machine: Host, life: Life): Promise<Network> {
  const { identities, addresses } = site.others!;
  const { admission } = identities;
  const { env } = life.process;
  return await Network.open({
    env,
    key: new NodeKey(machine.keyring!.nodeSeed),
    admission,
    transports: [life.line!.transport],
    listen: [parseAddress(addressOf(machine))],
    seeds: addresses().map(parseAddress),
    membership: gossipMembers({ admission }),
  });
}

export function addressOf({ name }: Pick<Host, 'name'>): string {
  return `memory://${name}:1`;
}

interface Parts {
  readonly site: Site;
  readonly machine: Host;
  readonly life: Life;
  readonly network: Network;
  readonly serving: Serving;
  readonly stores: ReturnType<Site['planted']['wrapStores']>;
}

async function openConnected(parts: Parts): Promise<Opened> {
  const { site, machine, life, network, serving, stores } = parts;
  const { env } = life.process;
  const { planted } = site;
  await using opened = new AsyncDisposableStack();
  const metadata = opened.use(await openMetadata(parts));
  const { registry } = metadata;
  const { id: nodeId } = machine;
  const core = opened.use(
    await openCore({
      env,
      nodeId,
      metadata,
      secrets: machine.secrets,
      localStores: stores,
      grants: memberGrants({ env, self: nodeId, registry, keyring: () => machine.keyring! }),
      threadCount: 0,
      slotCount: 4,
    }),
  );
  if (machine.isHome) {
    const wishes = { name: machine.name, labels: {} };
    await registerSelf({ env, registry, keyring: machine.keyring! }, wishes);
  }
  const { isHome } = machine;
  const repair = planted.repairOf({ core, env, stores: core.stores, isHome });
  const planting = { ...core, repair };
  const identity = machine.keyring!;
  opened.use(await connectCore({ env, core: planting, network, serving, identity }));
  const care = {
    alive: () => aliveStores(life),
    refresh: () => machine.reopenFailed(life),
    awayFor: () => [],
    get changeCount() {
      const failed = [...life.stores.values()].filter(({ state }) => state === 'failed').length;
      return 1000 * life.storeChanges + failed;
    },
    isDetached: () => false,
    setState() {},
    devices: () => planted.statedDevices(machine.devices(), core.cluster.topology().devices),
  };
  const { nodeGraceMs } = site.others!;
  if (!machine.isHome) planted.haunt({ core, env });
  opened.use(startCare({ env, core, stores: care, repair, nodeGraceMs }));
  return { core, repair, resources: opened.move() };
}

/** Has a node look for new epochs more seldom than it does. */
function lag(
  { cluster }: Metadata,
  { env, everyMs }: { env: Env; everyMs: number | undefined },
): void {
  if (everyMs === undefined) return;
  cluster.follow = async ({ signal }) => {
    for await (const _ of env.clock.every(everyMs, { signal })) {
      await cluster.refresh().catch(() => {});
    }
  };
}

async function openMetadata(parts: Parts): Promise<Metadata> {
  const { site, machine, life, network, stores } = parts;
  const { env } = life.process;
  const { planted } = site;
  const devices = planted.statedDevices(machine.devices(), []);
  const about = { env, nodeId: machine.id, stores, devices, tolerance: TOLERANCE };
  if (!machine.isHome) {
    const { home } = site.others!;
    const metadata = await RemoteMetadata.open({ ...about, network, home });
    const openRepair = metadata.openRepair.bind(metadata);
    lag(metadata, { env, everyMs: planted.followMs });
    metadata.openRepair = () => planted.wrapRemoteRepair(openRepair());
    return metadata;
  }
  const { metadataKey } = site;
  const { wrapReferences } = planted;
  const openDb = async (cell: string) => machine.openDb(cell);
  const metadata = await LocalMetadata.open({ ...about, metadataKey, openDb, wrapReferences });
  const { cluster } = metadata;
  const openRepair = metadata.openRepair.bind(metadata);
  metadata.openRepair = (given) =>
    openRepair({ ...given, stripes: planted.wrapStripes({ ...given, cluster }) });
  const volumeOf = metadata.volumeOf.bind(metadata);
  const namespaceOf = planted.wrapNamespaces((volume) => volumeOf(volume)?.namespace);
  metadata.volumeOf = (volume) => {
    const [doors, namespace] = [volumeOf(volume), namespaceOf(volume)];
    return doors && namespace && { ...doors, namespace };
  };
  return metadata;
}
