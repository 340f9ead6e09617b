/**
 * Metadata that may move while the node runs: from the log of one node to a ring. To the core it is
 * always the same; questions that come while it moves wait, and are answered from where it is then.
 *
 * What is on its way when it is to move is answered before; what repair does is not waited for: it
 * works on the metadata itself, fails when that closes, and begins anew.
 */
import { type DeviceId, errorCode, type VolumeId } from '../../base/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import type { Registry } from '../../log/index.ts';
import {
  DOOR_NAMES,
  type Handles,
  type Namespace,
  type References,
  type Tree,
  type Uploads,
  type VolumeDoors,
} from '../../meta/index.ts';
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
  /** Why it does not move yet, for people; kept by who moves it. */
  staysFor: string | undefined;
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
    const volumes = new Map<VolumeDoors, VolumeDoors>();
    return {
      registry,
      references,
      tolerance: served.tolerance,
      isHomes: served.isHomes,
      isMoving: () => this.#gate.isClosed,
      rights: served.rights,
      volumeOf: (volume) => {
        const found = this.#now.served?.volumeOf(volume);
        if (!found) return undefined;
        const behind =
          volumes.get(found) ??
          this.#doorsBehindGate(found, () => this.#now.served?.volumeOf(volume) ?? found);
        volumes.set(found, behind);
        return behind;
      },
      follow: async (options) => await served.follow?.(options),
    };
  }

  #doorsBehindGate(like: VolumeDoors, now: () => VolumeDoors): VolumeDoors {
    const doors = DOOR_NAMES.map((name) => [
      name,
      gated<object>(this.#gate, like[name], () => now()[name]),
    ]);
    return Object.fromEntries(doors) as unknown as VolumeDoors;
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
    return await this.#open((now) => now.openNamespace(volume));
  }

  async openTree(volume: VolumeId): Promise<Tree> {
    return await this.#open((now) => now.openTree(volume));
  }

  async openHandles(volume: VolumeId): Promise<Handles> {
    return await this.#open((now) => now.openHandles(volume));
  }

  async openUploads(volume: VolumeId): Promise<Uploads> {
    return await this.#open((now) => now.openUploads(volume));
  }

  /** A door; who comes through it waits for directories that somebody holds. */
  async #open<Door extends object>(open: (now: Metadata) => Promise<Door>): Promise<Door> {
    const gate = this.#gate;
    const first = await gate.pass(() => open(this.#now));
    return gated({ pass: (ask) => gate.passPatiently(ask) }, first, () => open(this.#now));
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
  /** What was under way where the metadata was before is begun again: it may be done twice. */
  const asked = async <Answer>(ask: (cluster: Cluster) => Promise<Answer>): Promise<Answer> => {
    const cluster = now();
    try {
      return await ask(cluster);
    } catch (error) {
      if (errorCode(error) !== 'HF_CLOSED' || now() === cluster) throw error;
      return await asked(ask);
    }
  };
  return {
    topology: () => now().topology(),
    layout: () => now().layout(),
    place: (...stripe) => now().place(...stripe),
    handOff: (...stripe) => now().handOff(...stripe),
    nodeOf: (device) => now().nodeOf(device),
    devicesOf: (node) => now().devicesOf(node),
    ensureWidth: (...width) => asked((cluster) => cluster.ensureWidth(...width)),
    setDevices: (devices) => asked((cluster) => cluster.setDevices(devices)),
    setNodeDevices: (...node) => asked((cluster) => cluster.setNodeDevices(...node)),
    refresh: () => asked((cluster) => cluster.refresh()),
  };
}

function repairOf(now: () => Repair): Repair {
  return {
    scrub: async (run) => await now().scrub(run),
    health: async (run) => await now().health(run),
    repair: async (run) => await now().repair(run),
    collect: async (run) => await now().collect(run),
    release: async (...release) => await now().release(...release),
    releaseLoose: async (...of) => await now().releaseLoose(...of),
    abandon: async (...write) => await now().abandon(...write),
    status: async () => await now().status(),
  };
}
