/**
 * Metadata that may move while the node runs: from the log of one node to a ring. To the core it is
 * always the same; questions that come while it moves wait, and are answered from where it is then.
 *
 * What is on its way when it is to move is answered before; what repair does is not waited for: it
 * works on the metadata itself, fails when that closes, and begins anew.
 */
import type { DeviceId, VolumeId } from '../../base/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import type { Registry } from '../../log/index.ts';
import type { Namespace, References, Tree } from '../../meta/index.ts';
import type { Repair } from '../../repair/index.ts';
import type { StaleNames } from '../../volume/index.ts';
import { Gate, gated } from './gate.ts';
import type { Metadata, RepairParts, ServedMetadata } from './metadata.ts';
import { aborted, Notice } from './notice.ts';
import { ObservedRegistry } from './observed-registry.ts';

export class MovingMetadata implements Metadata {
  readonly registry: ObservedRegistry;
  readonly references: References;
  readonly cluster: Cluster;
  readonly #gate = new Gate();
  #now: Metadata;
  #served: { readonly of: ServedMetadata; readonly behindGate: ServedMetadata } | undefined;
  readonly #moved = new Notice();
  #isClosed = false;

  /** @param first is closed with this one, or when it has moved away. */
  constructor(first: Metadata) {
    this.#now = first;
    this.registry = new ObservedRegistry(
      gated<Registry>(this.#gate, registryMethods(first.registry), () =>
        registryMethods(this.#now.registry),
      ),
    );
    this.references = gated(this.#gate, first.references, () => this.#now.references);
    this.cluster = {
      ...clusterOf(() => this.#now.cluster),
      follow: ({ signal }) => this.#followCluster(signal),
    };
  }

  /** Where it is now. */
  get now(): Metadata {
    return this.#now;
  }

  get isHome(): boolean {
    return this.#now.isHome;
  }

  get peers(): Metadata['peers'] {
    return this.#now.peers;
  }

  get served(): ServedMetadata | undefined {
    const { served } = this.#now;
    if (this.#served?.of !== served) {
      this.#served = served && { of: served, behindGate: this.#behindGate(served) };
    }
    return this.#served?.behindGate;
  }

  #behindGate(served: ServedMetadata): ServedMetadata {
    const { registry, references } = this;
    const namespaces = new Map<Namespace, Namespace>();
    return {
      registry,
      references,
      tolerance: served.tolerance,
      isHomes: served.isHomes,
      isMoving: () => this.#gate.isClosed,
      rights: served.rights,
      namespaceOf: (volume) => {
        const found = this.#now.served?.namespaceOf(volume);
        if (!found) return undefined;
        const known = namespaces.get(found);
        const behind =
          known ?? gated(this.#gate, found, () => this.#servedNamespace(volume, found));
        namespaces.set(found, behind);
        return behind;
      },
      treeOf: (volume) => {
        const found = this.#now.served?.treeOf(volume);
        if (!found) return undefined;
        return gated(this.#gate, found, () => this.#now.served?.treeOf(volume) ?? found);
      },
      follow: async (options) => await served.follow?.(options),
    };
  }

  #servedNamespace(volume: string, otherwise: Namespace): Namespace {
    return this.#now.served?.namespaceOf(volume) ?? otherwise;
  }

  async changed(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const inside = this.#now.changed?.(either) ?? aborted(either);
    try {
      await Promise.race([this.#moved.next(either), inside]);
    } finally {
      over.abort();
    }
  }

  async #followCluster(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const followed = this.#now;
      const over = new AbortController();
      const either = AbortSignal.any([signal, over.signal]);
      const following = followed.cluster.follow({ signal: either });
      while (!signal.aborted && this.#now === followed) await this.changed(signal);
      over.abort();
      await following;
    }
  }

  async openNamespace(volume: VolumeId): Promise<Namespace> {
    const first = await this.#gate.pass(() => this.#now.openNamespace(volume));
    return gated(this.#gate, first, () => this.#now.openNamespace(volume));
  }

  async openTree(volume: VolumeId): Promise<Tree> {
    const first = await this.#gate.pass(() => this.#now.openTree(volume));
    return gated(this.#gate, first, () => this.#now.openTree(volume));
  }

  /** Not behind the gate: it stays so old that it does not matter. */
  openStale(volume: VolumeId): StaleNames | undefined {
    return this.#now.openStale?.(volume);
  }

  openRepair(parts: RepairParts): Repair {
    let opened: { readonly of: Metadata; readonly repair: Repair } | undefined;
    const repair = (): Repair => {
      const of = this.#now;
      if (opened?.of !== of) opened = { of, repair: of.openRepair(parts) };
      return opened.repair;
    };
    return repairOf(repair);
  }

  fullStores(): ReadonlySet<DeviceId> {
    return this.#now.fullStores?.() ?? new Set();
  }

  /**
   * Exchanges where the metadata is. When `open` fails, it stays where it was.
   * @param open gives where it is from now on; what was before is still open then.
   */
  async move(open: (before: Metadata) => Promise<Metadata>): Promise<void> {
    const before = await this.#gate.closedFor(async () => {
      const last = this.#now;
      this.#now = await open(last);
      return last;
    });
    this.#moved.give();
    await before[Symbol.asyncDispose]();
    if (this.#isClosed) await this.#now[Symbol.asyncDispose]();
  }

  cellCount(): number {
    return this.#now.cellCount?.() ?? 0;
  }

  async resign(): Promise<boolean> {
    return (await this.#now.resign?.()) ?? !this.isHome;
  }

  close(): void {
    this.#now.close?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.close();
    await this.#gate.closedFor(async () => await this.#now[Symbol.asyncDispose]());
  }
}

/** A plain object, whatever class it is of. */
function registryMethods(registry: Registry): Registry {
  return {
    get: (key) => registry.get(key),
    list: (prefix) => registry.list(prefix),
    compareAndSet: (...change) => registry.compareAndSet(...change),
    [Symbol.asyncDispose]: async () => {},
  };
}

function clusterOf(now: () => Cluster): Omit<Cluster, 'follow'> {
  return {
    topology: () => now().topology(),
    layout: () => now().layout(),
    place: (...stripe) => now().place(...stripe),
    handOff: (...stripe) => now().handOff(...stripe),
    nodeOf: (device) => now().nodeOf(device),
    devicesOf: (node) => now().devicesOf(node),
    ensureWidth: (...width) => now().ensureWidth(...width),
    setDevices: (devices) => now().setDevices(devices),
    setNodeDevices: (...node) => now().setNodeDevices(...node),
    refresh: () => now().refresh(),
  };
}

function repairOf(now: () => Repair): Repair {
  return {
    scrub: async (run) => await now().scrub(run),
    health: async (run) => await now().health(run),
    repair: async (run) => await now().repair(run),
    collect: async (run) => await now().collect(run),
    release: async (...release) => await now().release(...release),
    abandon: async (...write) => await now().abandon(...write),
    status: async () => await now().status(),
  };
}
