/**
 * One machine with its disks, and the node that runs on it, life after life.
 *
 *   down ──start──▶ starting ──▶ up ──stop (clean) or crash──▶ down
 *
 * A disk is *impaired* from the moment something happens to it that may cost it chunks (lost, away,
 * rotten, unreadable) until a whole {@link World.heal} has put them again. The nemesis keeps to at
 * most TOLERANCE impaired disks, which is all that may be lost (ruling 9).
 */
import {
  assert,
  errorCode,
  hexId,
  LIMITS,
  MiB,
  Mutex,
  type ClusterId,
  type NodeId,
  parseScheme,
  type VolumeId,
} from '../src/base/index.ts';
import { MemoryDb } from '../src/db/index.ts';
import { type HomeCore, openHomeCore } from '../src/node/index.ts';
import type { Repair } from '../src/repair/index.ts';
import { type ExtentStore, formatStore, openStore } from '../src/store/index.ts';
import type { ObjectStore } from '../src/volume/index.ts';
import { SimDisk } from './disk.ts';
import type { Planted } from './planted.ts';
import type { SeededRandom } from './random.ts';
import { Process, textOf, type VirtualTime } from './sim-env.ts';
import type { Trace } from './trace.ts';

export const TOLERANCE = 2;
export const VOLUME = 'main';

/** Shards of the widest stripe in use. */
const SHARDS_MAX = 6;

/** What went wrong: a promise of the system does not hold. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

export interface WorldOptions {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly trace: Trace;
  readonly planted: Planted;
  readonly diskCount: number;
}

/** A life of the node, from start to end. */
interface Life {
  readonly process: Process;
  readonly stores: Map<SimDisk, ExtentStore>;
  readonly ended: Promise<void>;
  readonly end: () => void;
  readonly reopening: Mutex;
  core: HomeCore | undefined;
  repair: Repair | undefined;
}

export interface Impairment {
  readonly sinceMs: number;
  /** It still takes new chunks, and may spoil those. */
  readonly isInUse: boolean;
}

export type Outcome<Result> =
  | { readonly kind: 'done'; readonly value: Result }
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'crashed' };

export class World {
  readonly disks: SimDisk[] = [];
  readonly impaired = new Map<SimDisk, Impairment>();
  readonly counts = { crashes: 0, restarts: 0, heals: 0, lost: 0, rot: 0 };
  readonly #options: WorldOptions;
  readonly #random: SeededRandom;
  readonly #clusterId: ClusterId;
  readonly #nodeId: NodeId;
  readonly #metadataKey: Uint8Array;
  readonly #secrets = new Map<VolumeId, Uint8Array>();
  readonly #databases = new Map<string, MemoryDb>();
  #life: Life | undefined;
  #lifeCount = 0;
  #underWay = 0;
  /** Wakes those who wait for the node to be up. */
  #waiting: (() => void)[] = [];
  #impairments = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#random = options.random.fork('world');
    this.#clusterId = hexId<ClusterId>(this.#random.bytes(16));
    this.#nodeId = hexId<NodeId>(this.#random.bytes(16));
    this.#metadataKey = this.#random.bytes(32);
    for (let i = 0; i < options.diskCount; i++) this.#makeDisk();
  }

  get nowMs(): number {
    return this.#options.time.nowMs;
  }

  async sleep(ms: number): Promise<void> {
    await this.#options.time.sleep(ms);
  }

  note(what: string): void {
    this.#options.trace.add(this.nowMs, 'world', what);
  }

  #makeDisk(): SimDisk {
    const random = this.#random;
    const disk = new SimDisk({
      name: `disk-${this.disks.length}`,
      sizeBytes: random.pick([24, 32, 64]) * MiB,
      random,
      pace: {
        readMs: random.pick([0.1, 1, 5]),
        writeMs: random.pick([0.05, 0.5, 5]),
        flushMs: random.pick([0.2, 2, 10]),
      },
    });
    this.disks.push(disk);
    return disk;
  }

  #newLife(): Life {
    const { time, random, trace } = this.#options;
    const process = new Process({ name: `node-${this.#lifeCount++}`, time, random, trace });
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const reopening = new Mutex();
    return {
      process,
      stores: new Map(),
      ended,
      end,
      reopening,
      core: undefined,
      repair: undefined,
    };
  }

  /** Starts the node. Returns when it is up, or has crashed meanwhile. */
  async start(): Promise<void> {
    assert(!this.#life, 'one node at a time');
    const life = this.#newLife();
    this.#life = life;
    this.note(`start ${life.process.name}`);
    const opened = this.#open(life).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const failure = await Promise.race([opened, life.ended]);
    if (failure) throw new Violation(`the node does not start: ${textOf(failure.error)}`);
    if (life.process.isDead) return;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async #open(life: Life): Promise<void> {
    for (const disk of this.disks) {
      if (disk.state === 'here') await this.#openDisk(life, disk);
    }
    const { env } = life.process;
    const { planted } = this.#options;
    const core = await openHomeCore({
      env,
      nodeId: this.#nodeId,
      metadataKey: this.#metadataKey,
      secrets: {
        get: (volume) => this.#secrets.get(volume),
        add: async (volume, secret) => {
          this.#secrets.set(volume, secret);
        },
      },
      stores: planted.wrapStores(() => alive(life), env),
      devices: this.#devices(),
      tolerance: TOLERANCE,
      openDb: async (cell) => this.#openDb(cell),
      threadCount: 0,
      slotCount: 4,
      wrapReferences: planted.wrapReferences,
    });
    const hasVolume = (await core.volumes.list()).some(({ record }) => record.name === VOLUME);
    const scheme = parseScheme('rs-4+2');
    if (!hasVolume)
      await core.volumes.create({ name: VOLUME, policy: [scheme], isDeduplicating: true });
    life.repair = planted.repairOf(core, env, () => alive(life));
    life.core = core;
  }

  async #openDisk(life: Life, disk: SimDisk): Promise<void> {
    const { process: running } = life;
    const { env } = running;
    const device = disk.powerOn(running);
    try {
      if (!disk.id) {
        const clusterId = this.#clusterId;
        const journalBlocks = this.#random.fork(disk.name).pick([64, 256, 1024]);
        // A crash may have left half a format.
        const format = { clusterId, journalBlocks, replacesStore: true };
        disk.id = await formatStore({ env, device, ...format });
      }
      const plantedFault = this.#options.planted.storeFault;
      const clusterId = this.#clusterId;
      const store = await openStore({ env, device, clusterId, plantedFault });
      await limit(store, disk);
      life.stores.set(disk, store);
      disk.isWrittenOff = false;
    } catch (error) {
      if (running.isDead) throw error; // the disk is another life's by now
      running.note(`${disk.name} cannot be opened: ${textOf(error)}`);
      disk.cutPower();
      if (!this.impaired.has(disk) && !disk.isRotten) {
        throw new Violation(`${disk.name} is sound and cannot be opened: ${textOf(error)}`);
      }
    }
  }

  /** The cache of rows survives a crash with what was committed; sometimes it is gone. */
  #openDb(cell: string): MemoryDb {
    const before = this.#databases.get(cell);
    const db = before && !this.#random.chance(0.1) ? before.crash() : new MemoryDb();
    this.#databases.set(cell, db);
    return db;
  }

  #devices() {
    return this.disks
      .filter(({ id }) => id !== undefined)
      .map((disk) => ({
        id: disk.id!,
        weightBytes: disk.sizeBytes,
        state: disk.isWrittenOff ? ('out' as const) : ('in' as const),
        labels: [this.#nodeId as string, disk.name],
      }));
  }

  get isUp(): boolean {
    return this.#life?.core !== undefined;
  }

  get isDown(): boolean {
    return this.#life === undefined;
  }

  /**
   * While it stays the same number nothing has happened that is a reason to fail; `undefined` while
   * there is one.
   */
  get peace(): number | undefined {
    const isPeace = this.impaired.size === 0 && this.aliveCount >= SHARDS_MAX;
    return isPeace && this.#options.planted.name === 'none' ? this.#impairments : undefined;
  }

  /** The life that is up; waits for the next one when none is. */
  async #up(): Promise<Life & { core: HomeCore }> {
    for (;;) {
      const life = this.#life;
      if (life?.core) return life as Life & { core: HomeCore };
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Asks the running node for something; a crash ends it. */
  async call<Result>(
    work: (core: HomeCore, objects: ObjectStore, life: Life) => Promise<Result>,
  ): Promise<Outcome<Result>> {
    const life = await this.#up();
    const { core } = life;
    this.#underWay += 1;
    const done = work(core, core.volumes.objects(VOLUME), life).then(
      (value) => ({ kind: 'done', value }) as const,
      (error: unknown) => ({ kind: 'failed', error }) as const,
    );
    const crashed = life.ended.then(() => ({ kind: 'crashed' }) as const);
    const outcome = await Promise.race([done, crashed]);
    this.#underWay -= 1;
    if (outcome.kind === 'failed' && errorCode(outcome.error) === undefined) {
      if (outcome.error instanceof Violation) throw outcome.error;
      const { stack } = outcome.error as Error;
      throw new Violation(`a bug of ours: ${textOf(outcome.error)}\n${stack}`);
    }
    return outcome;
  }

  /** Memory is gone, and what the disks had not flushed. */
  crash(): void {
    const life = this.#life;
    if (!life) return;
    this.counts.crashes += 1;
    this.note('crash');
    this.#end(life);
  }

  #end(life: Life): void {
    life.process.kill();
    for (const disk of this.disks) disk.cutPower();
    this.#life = undefined;
    life.end();
  }

  /** Ends the node as a signal does: what is under way is finished first. */
  async stop(): Promise<void> {
    const life = this.#life;
    if (!life?.core) return;
    const { core } = life;
    this.note('stop');
    this.counts.restarts += 1;
    life.core = undefined; // nobody asks any more
    while (this.#underWay > 0) {
      await this.#options.time.sleep(1);
      if (life.process.isDead) return;
    }
    const closed = (async () => {
      await core[Symbol.asyncDispose]();
      for (const store of life.stores.values()) await closeQuietly(store);
    })();
    await Promise.race([closed, life.ended]);
    if (!life.process.isDead) this.#end(life);
  }

  get aliveCount(): number {
    return this.#life ? alive(this.#life).length : 0;
  }

  /** Whether the node has noticed what was done to its disks, and nothing more can come of it. */
  get isEverythingKnown(): boolean {
    const stores = [...(this.#life?.stores ?? [])];
    const isNoticed = stores.every(
      ([disk, { state }]) => disk.state === 'here' || state === 'failed',
    );
    return isNoticed && [...this.impaired.values()].every(({ isInUse }) => !isInUse);
  }

  /** Rises with each impairment. */
  get impairmentCount(): number {
    return this.#impairments;
  }

  impair(disk: SimDisk, isInUse: boolean): void {
    this.#impairments += 1;
    this.impaired.set(disk, { sinceMs: this.nowMs, isInUse });
  }

  /** Disks whose chunks may have been lost to what was acknowledged at `sinceMs` or later. */
  damageSince(sinceMs: number): number {
    return [...this.impaired.values()].filter((each) => each.isInUse || each.sinceMs >= sinceMs)
      .length;
  }

  /** The disk stops answering; with `isForGood` it never comes back. */
  takeDisk(disk: SimDisk, isForGood: boolean): void {
    this.note(`${disk.name} ${isForGood ? 'dies' : 'goes away'}`);
    this.impair(disk, false);
    disk.cutPower();
    disk.state = isForGood ? 'lost' : 'away';
    if (isForGood) this.counts.lost += 1;
  }

  rotDisk(disk: SimDisk, bitCount: number): void {
    this.impair(disk, true);
    this.counts.rot += 1;
    disk.isRotten = true;
    this.note(`${disk.name} rots at ${disk.rot(bitCount)}`);
  }

  /** Whether the disk refuses puts from now on; in all lives until it is said otherwise. */
  async setFull(disk: SimDisk, isFull: boolean): Promise<void> {
    this.note(`${disk.name} ${isFull ? 'is full' : 'has room again'}`);
    disk.isFull = isFull;
    await this.call(async (_core, _objects, { stores }) => {
      const store = stores.get(disk);
      if (store) await limit(store, disk);
    });
  }

  /** A disk that was away is back, or one that had failed is opened again. */
  async bringDisk(disk: SimDisk): Promise<void> {
    if (disk.state !== 'away') return;
    this.note(`${disk.name} comes back`);
    disk.state = 'here';
    await this.call(async (core, _, life) => {
      await this.#reopen(life, disk);
      await core.cluster.setDevices(this.#devices());
    });
  }

  async addDisk(): Promise<void> {
    const disk = this.#makeDisk();
    this.note(`${disk.name} is new`);
    await this.call(async (core, _, life) => {
      await this.#reopen(life, disk);
      await core.cluster.setDevices(this.#devices());
    });
  }

  /** Opens disks that are here and have no store, or one that has failed. */
  async #reopen(life: Life, disk: SimDisk): Promise<void> {
    await life.reopening.run(async () => {
      const before = life.stores.get(disk);
      if ((before && before.state !== 'failed') || disk.state !== 'here') return;
      life.stores.delete(disk);
      if (before) await closeQuietly(before);
      disk.cutPower();
      await this.#openDisk(life, disk);
    });
  }

  async scrub(): Promise<void> {
    await this.#maintain('scrub', async ({ repair }) => await repair.scrub());
  }

  async collect(graceMs: number): Promise<void> {
    await this.#maintain('collect', async ({ repair }) => await repair.collect({ graceMs }));
  }

  /** As a user's `repair`: stores that are away are written off, all else is made whole. */
  async heal(): Promise<boolean> {
    const impairments = this.#impairments;
    const isWhole = await this.#maintain('heal', async ({ core, repair, life }) => {
      for (const disk of this.disks) {
        await this.#reopen(life, disk);
        // Nobody will repair a disk that cannot be opened.
        if (disk.state === 'here' && !life.stores.has(disk)) disk.state = 'lost';
        disk.isWrittenOff = disk.state !== 'here';
      }
      await core.cluster.setDevices(this.#devices());
      await core.metadata.mend();
      await repair.collect({ graceMs: 24 * 3600 * 1000 });
      const { failedStores } = await repair.scrub();
      const { incomplete, lost } = await repair.repair();
      await core.metadata.mend();
      this.note(`healed: ${incomplete} incomplete, ${lost} lost, ${failedStores.length} failed`);
      return incomplete === 0 && lost === 0 && failedStores.length === 0;
    });
    if (!isWhole || this.#impairments !== impairments) return false;
    for (const disk of this.impaired.keys()) {
      if (disk.readErrorRate === 0 && !disk.isFull) this.impaired.delete(disk);
    }
    // One that was away kept its rot: nothing of it is needed any more, but it may not open again.
    for (const disk of this.disks) disk.isRotten &&= disk.state !== 'here';
    this.counts.heals += 1;
    return true;
  }

  async #maintain<Result>(
    what: string,
    work: (parts: { core: HomeCore; repair: Repair; life: Life }) => Promise<Result>,
  ): Promise<Result | undefined> {
    const outcome = await this.call((core, _, life) => work({ core, repair: life.repair!, life }));
    if (outcome.kind === 'done') {
      this.note(`${what}: done`);
      return outcome.value;
    }
    this.note(`${what}: ${outcome.kind === 'failed' ? textOf(outcome.error) : outcome.kind}`);
    return undefined;
  }

  /** The stores of the node that is up, for the checks at the end. */
  stores(): ExtentStore[] {
    assert(this.#life?.core, 'the node is up');
    return alive(this.#life);
  }
}

/** Gives the store the maximum that makes its disk full, or takes it away. */
async function limit(store: ExtentStore, disk: SimDisk): Promise<void> {
  const { limits } = await store.describe();
  const hardMaxBytes = disk.isFull ? LIMITS.blockBytes : 0;
  if (limits.hardMaxBytes === hardMaxBytes) return;
  await store.setLimits({ minBytes: 0, maxBytes: 0, hardMaxBytes });
}

function alive({ stores }: Life): ExtentStore[] {
  return [...stores.values()].filter(({ state }) => state !== 'failed');
}

/** A store that has failed has nothing left to lose by not closing well. */
async function closeQuietly(store: ExtentStore): Promise<void> {
  try {
    await store[Symbol.asyncDispose]();
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
  }
}
