/**
 * A machine with its disks, and the node that runs on it, life after life.
 *
 *   down ──start──▶ starting ──▶ up ──stop (clean) or crash──▶ down        any ──▶ gone (for good)
 *
 * A node that is starting serves its stores already; it is up once its core is open.
 */
import {
  assert,
  errorCode,
  LIMITS,
  MiB,
  Mutex,
  type NodeId,
  type VolumeId,
} from '../src/base/index.ts';
import type { Keyring } from '../src/crypto/index.ts';
import { MemoryDb } from '../src/db/index.ts';
import type { Core } from '../src/node/index.ts';
import type { Repair } from '../src/repair/index.ts';
import { type ExtentStore, formatStore, openStore } from '../src/store/index.ts';
import { SimDisk } from './disk.ts';
import { openAlone, openAmongOthers } from './machine-core.ts';
import type { SeededRandom } from './random.ts';
import { Process, textOf } from './sim-env.ts';
import { aliveStores, type Host, type Life, type Site } from './site.ts';
import { type Outcome, Violation } from './violation.ts';

export interface MachineOptions {
  readonly index: number;
  readonly id: NodeId;
  /** Draws what its disks and lives are like. */
  readonly random: SeededRandom;
  readonly keyring?: Keyring | undefined;
}

export class Machine implements Host {
  readonly index: number;
  readonly id: NodeId;
  readonly name: string;
  keyring: Keyring | undefined;
  readonly disks: SimDisk[] = [];
  isGone = false;
  isDraining = false;
  /** Nobody starts it before this moment of virtual time. */
  awayUntilMs = 0;
  readonly #site: Site;
  readonly #random: SeededRandom;
  readonly #databases = new Map<string, MemoryDb>();
  #life: Life | undefined;
  #lifeCount = 0;
  #underWay = 0;

  constructor(site: Site, { index, id, random, keyring }: MachineOptions) {
    this.#site = site;
    this.index = index;
    this.id = id;
    this.name = site.others ? `m${index}` : 'node';
    this.#random = random;
    this.keyring = keyring;
  }

  get isHome(): boolean {
    return this.index === 0;
  }

  get isUp(): boolean {
    return this.#life?.core !== undefined;
  }

  get isDown(): boolean {
    return this.#life === undefined;
  }

  /** Whether it was ever started. */
  get hasRun(): boolean {
    return this.#lifeCount > 0;
  }

  get life(): Life | undefined {
    return this.#life;
  }

  /** The life of a node that is up. */
  get upLife(): (Life & { core: Core; repair: Repair }) | undefined {
    return this.isUp ? (this.#life as Life & { core: Core; repair: Repair }) : undefined;
  }

  note(what: string): void {
    const who = this.#site.others ? this.name : 'world';
    this.#site.trace.add(this.#site.time.nowMs, who, what);
  }

  makeDisk(number: number): SimDisk {
    const random = this.#random;
    const disk = new SimDisk({
      name: `disk-${number}`,
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
    const { time, random, trace, others } = this.#site;
    const name = `${this.name}-${this.#lifeCount++}`;
    const process = new Process({ name, time, random, trace });
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const nothing = { core: undefined, repair: undefined, resources: undefined };
    return {
      process,
      stores: new Map(),
      ended,
      end,
      reopening: new Mutex(),
      storeChanges: 0,
      line: others?.net.lifeLine(this.id, process),
      ...nothing,
    };
  }

  /** Starts the node. Returns when it is up, or has crashed meanwhile. */
  async start(): Promise<void> {
    assert(!this.#life && !this.isGone, 'one node at a time');
    // Whoever has not heard of its death hears of it now.
    this.#site.others?.net.cut(this.id);
    const life = this.#newLife();
    this.#life = life;
    this.note(`start ${life.process.name}`);
    const opened = this.#open(life).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const failure = await Promise.race([opened, life.ended]);
    if (failure) {
      const { error } = failure;
      if (error instanceof Violation) throw error;
      const stack = errorCode(error) === undefined ? (error as Error).stack : '';
      throw new Violation(`the node does not start: ${textOf(error)} ${stack}`);
    }
    if (!life.process.isDead) this.#site.onChange();
  }

  async #open(life: Life): Promise<void> {
    for (const disk of this.disks) if (disk.state === 'here') await this.#openDisk(life, disk);
    const open = this.#site.others ? openAmongOthers : openAlone;
    const { core, repair, resources } = await open(this.#site, this, life);
    Object.assign(life, { core, repair, resources });
  }

  async #openDisk(life: Life, disk: SimDisk): Promise<void> {
    const { clusterId, planted, isImpaired } = this.#site;
    const { process: running } = life;
    const { env } = running;
    const device = disk.powerOn(running);
    try {
      if (!disk.id) {
        const journalBlocks = this.#random.fork(disk.name).pick([64, 256, 1024]);
        // A crash may have left half a format.
        const format = { clusterId, journalBlocks, replacesStore: true };
        disk.id = await formatStore({ env, device, ...format });
      }
      const store = await openStore({ env, device, clusterId, plantedFault: planted.storeFault });
      await limit(store, disk);
      life.stores.set(disk, store);
      life.storeChanges += 1;
      disk.isWrittenOff = false;
    } catch (error) {
      if (running.isDead) throw error; // the disk is another life's by now
      running.note(`${disk.name} cannot be opened: ${textOf(error)}`);
      disk.cutPower();
      if (!isImpaired(disk) && !disk.isRotten) {
        throw new Violation(`${disk.name} is sound and cannot be opened: ${textOf(error)}`);
      }
    }
  }

  /** The cache of rows survives a crash with what was committed; sometimes it is gone. */
  openDb(cell: string): MemoryDb {
    const before = this.#databases.get(cell);
    const db = before && !this.#random.chance(0.1) ? before.crash() : new MemoryDb();
    this.#databases.set(cell, db);
    return db;
  }

  /** Keys of volumes, as a keyring file has them. */
  readonly #secrets = new Map<VolumeId, Uint8Array>();
  readonly secrets = {
    get: (volume: VolumeId) => this.#secrets.get(volume),
    add: async (volume: VolumeId, secret: Uint8Array) => {
      this.#secrets.set(volume, secret);
    },
  };

  devices() {
    return this.disks
      .filter(({ id }) => id !== undefined)
      .map((disk) => ({
        id: disk.id!,
        weightBytes: disk.sizeBytes,
        state: disk.isWrittenOff ? ('out' as const) : this.#stateInUse(),
        labels: [this.#site.others ? this.name : (this.id as string), disk.name],
      }));
  }

  #stateInUse(): 'in' | 'draining' {
    return this.isDraining ? 'draining' : 'in';
  }

  /** Its stores that are alive. */
  stores(): ExtentStore[] {
    return this.#life ? aliveStores(this.#life) : [];
  }

  /** Asks the node, which is up, for something; a crash ends it. */
  async call<Result>(
    life: Life & { core: Core },
    work: (core: Core) => Promise<Result>,
  ): Promise<Outcome<Result>> {
    this.#underWay += 1;
    const done = work(life.core).then(
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
  crash({ isSilent = false } = {}): void {
    if (!this.#life) return;
    this.note(isSilent ? 'power cut' : 'crash');
    this.#end(this.#life, isSilent);
  }

  #end(life: Life, isSilent = false): void {
    life.process.kill();
    life.line?.die();
    if (!isSilent) this.#site.others?.net.cut(this.id);
    for (const disk of this.disks) disk.cutPower();
    this.#life = undefined;
    life.end();
    this.#site.onChange();
  }

  /** Ends the node as a signal does: what is under way is finished first. */
  async stop(): Promise<void> {
    const life = this.#life;
    if (!life?.core) return;
    this.note('stop');
    life.core = undefined; // nobody asks any more
    this.#site.onChange();
    while (this.#underWay > 0) {
      await this.#site.time.sleep(1);
      if (life.process.isDead) return;
    }
    const closed = (async () => {
      await life.resources?.[Symbol.asyncDispose]();
      for (const store of life.stores.values()) await closeQuietly(store);
    })();
    await Promise.race([closed, life.ended]);
    if (!life.process.isDead) this.#end(life);
  }

  /** It is destroyed, with its disks, or was sent away: never to come back. */
  vanish(): void {
    this.isGone = true;
    for (const disk of this.disks) {
      disk.state = 'lost';
      disk.isWrittenOff = true;
    }
    if (this.#life) this.#end(this.#life, true);
  }

  /** Opens a disk that is here and has no store, or one that has failed. */
  async reopen(life: Life, disk: SimDisk): Promise<void> {
    await life.reopening.run(async () => {
      const before = life.stores.get(disk);
      const isGood = before && before.state !== 'failed' && disk.isPowered;
      if (isGood || disk.state !== 'here') return;
      life.stores.delete(disk);
      if (before) await closeQuietly(before);
      if (disk.state !== 'here' || life.process.isDead) return; // it has gone meanwhile
      disk.cutPower();
      await this.#openDisk(life, disk);
    });
  }

  /** What a node does again and again for disks that are back. */
  async reopenFailed(life: Life): Promise<void> {
    const stores = [...life.stores];
    for (const [disk, { state }] of stores) {
      if (state === 'failed' || !disk.isPowered) await this.reopen(life, disk);
    }
  }

  /** Tells the store of the disk whether it has room. */
  async limit(life: Life, disk: SimDisk): Promise<void> {
    const store = life.stores.get(disk);
    if (store) await limit(store, disk);
  }
}

/** Gives the store the maximum that makes its disk full, or takes it away. */
async function limit(store: ExtentStore, disk: SimDisk): Promise<void> {
  const { limits } = await store.describe();
  const hardMaxBytes = disk.isFull ? LIMITS.blockBytes : 0;
  if (limits.hardMaxBytes === hardMaxBytes) return;
  await store.setLimits({ minBytes: 0, maxBytes: 0, hardMaxBytes });
}

/** A store that has failed has nothing left to lose by not closing well. */
async function closeQuietly(store: ExtentStore): Promise<void> {
  try {
    await store[Symbol.asyncDispose]();
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
  }
}
