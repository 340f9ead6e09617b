/**
 * The machines of a run, what is wrong with them, and how they are asked. Machine 0 is the home of
 * the metadata: it crashes like any other, but is never lost.
 *
 * A disk is *impaired* from the moment something happens to it that may cost it chunks (lost, away,
 * rotten, unreadable) until a whole {@link World.heal} has put them again. Machines are *disturbed*
 * while some cannot be reached, and for a while after. What is put meanwhile may be acknowledged
 * with one shard to spare, so until it is whole only one disk may be impaired, else TOLERANCE
 * (ruling 9).
 */
import { type ClusterId, hexId, type NodeId, parseScheme } from '../src/base/index.ts';
import { NodeKey } from '../src/crypto/index.ts';
import type { Core } from '../src/node/index.ts';
import type { ExtentStore } from '../src/store/index.ts';
import type { ObjectStore } from '../src/volume/index.ts';
import type { SimDisk } from './disk.ts';
import { gather } from './gathering.ts';
import { Identities } from './identities.ts';
import { Machine } from './machine.ts';
import type { Site } from './site.ts';
import { addressOf } from './machine-core.ts';
import type { Planted } from './planting.ts';
import type { SeededRandom } from './random.ts';
import { Process, textOf, type VirtualTime } from './sim-env.ts';
import { SimNet } from './sim-net.ts';
import type { Trace } from './trace.ts';
import { SHARDS_MAX, type Outcome, TOLERANCE, Violation, VOLUME } from './violation.ts';

/** Shards of the widest stripe in use. */
/** After this nothing is left of a time of trouble: suspicions, pauses, stores left alone. */
const RECOVERY_MS = 90_000;

export interface WorldOptions {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly trace: Trace;
  readonly planted: Planted;
  /** Of each machine. */
  readonly diskCounts: readonly number[];
}

interface Impairment {
  readonly sinceMs: number;
  /** It still takes new chunks, and may spoil those. */
  readonly isInUse: boolean;
}

export class World {
  readonly machines: Machine[] = [];
  readonly impaired = new Map<SimDisk, Impairment>();
  readonly counts = { crashes: 0, restarts: 0, heals: 0, lost: 0, rot: 0, partitions: 0 };
  readonly net: SimNet | undefined;
  /**
   * Said by the nemesis: the network is parted; nothing may go wrong between machines for a while.
   */
  isParted = false;
  isResting = false;
  /** Rejects when a promise does not hold that nobody asked about. */
  readonly violated: Promise<never>;
  readonly #violate: (violation: Violation) => void;
  readonly #options: WorldOptions;
  readonly #random: SeededRandom;
  readonly #routing: SeededRandom;
  readonly #site: Site;
  readonly #identities: Identities | undefined;
  /** Wakes those who wait for a node to be up. */
  #waiting: (() => void)[] = [];
  #impairments = 0;
  #diskCount = 0;
  /** Troubles of the network and of machines that are going on. */
  #troubleCount = 0;
  #troubleEndedMs = -Infinity;
  #troubles = 0;
  /** Whether something may have been put with less to spare since all was whole. */
  #mayBeDegraded = false;
  /** When the calls that are under way began. */
  readonly #underWay = new Set<{ readonly sinceMs: number }>();

  constructor(options: WorldOptions) {
    const { time, random, trace, planted, diskCounts } = options;
    this.#options = options;
    this.#random = random.fork('world');
    this.#routing = random.fork('routing');
    const { promise, reject } = Promise.withResolvers<never>();
    this.violated = promise;
    this.violated.catch(() => {}); // also when nobody waits for it any more
    this.#violate = reject;
    const isAlone = diskCounts.length === 1;
    const clusterId = hexId<ClusterId>(this.#random.bytes(16));
    const aloneId = hexId<NodeId>(this.#random.bytes(16));
    const metadataKey = this.#random.bytes(32);
    if (!isAlone) {
      this.net = new SimNet(new Process({ name: 'net', time, random, trace }).env, { delayMs: 1 });
      this.#identities = new Identities(random);
    }
    const graceMs = random.fork('grace').pick([20_000, 40_000, 600_000]);
    this.#site = {
      time,
      random,
      trace,
      planted,
      clusterId,
      metadataKey,
      others: this.net && {
        net: this.net,
        identities: this.#identities!,
        home: () => this.home.id,
        addresses: () => this.machines.map(addressOf),
        all: () => ({
          references: this.home.upLife?.core.references,
          stores: this.stores(),
        }),
        nodeGraceMs: graceMs,
      },
      isImpaired: (disk) => this.impaired.has(disk),
      onChange: () => this.#onChange(),
      report: (violation) => this.#violate(new Violation(violation)),
    };
    for (const count of diskCounts) this.#makeMachine(count, aloneId);
  }

  #makeMachine(diskCount: number, aloneId?: NodeId): Machine {
    const index = this.machines.length;
    const keyring = this.#identities?.next();
    const id = keyring ? new NodeKey(keyring.nodeSeed).nodeId : aloneId!;
    const random = keyring ? this.#random.fork(`m${index}`) : this.#random;
    const machine = new Machine(this.#site, { index, id, random, keyring });
    this.machines.push(machine);
    for (let i = 0; i < diskCount; i++) machine.makeDisk(this.#diskCount++);
    return machine;
  }

  get home(): Machine {
    return this.machines[0]!;
  }

  /** Those that are not gone for good. */
  get standing(): Machine[] {
    return this.machines.filter(({ isGone }) => !isGone);
  }

  get disks(): SimDisk[] {
    return this.standing.flatMap(({ disks }) => disks);
  }

  machineOf(disk: SimDisk): Machine {
    return this.machines.find(({ disks }) => disks.includes(disk))!;
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

  get planted(): Planted {
    return this.#options.planted;
  }

  /** The first start of all: a cluster that is whole, with a volume that all machines serve. */
  async start(): Promise<void> {
    this.#identities?.admit(this.home.id);
    await this.home.start();
    for (const machine of this.machines.slice(1)) await this.#admit(machine);
    if (this.net) await this.together();
    const policy = [parseScheme('rs-4+2')] as const;
    const created = await this.call(
      (core) => core.volumes.create({ name: VOLUME, policy, isDeduplicating: true }),
      [this.home],
    );
    if (created.kind !== 'done') throw new Violation('no volume can be made in peace');
    for (const machine of this.machines.slice(1)) await this.#grant(machine);
    if (this.net) await this.together();
    // That machines came one after the other was no trouble.
    this.#troubleEndedMs = -Infinity;
    this.#mayBeDegraded = false;
  }

  /** What an admin node does for one that joins, without the talk; then it is started. */
  async #admit(machine: Machine): Promise<void> {
    this.#identities!.admit(machine.id);
    await this.call(
      async ({ registry }, _, { process: { env } }) => {
        const { members } = this.#identities!.records({ env, registry });
        await members.put(machine.keyring!.certificate, { name: machine.name, labels: {} });
      },
      [this.home],
    );
    await machine.start();
  }

  async #grant(machine: Machine): Promise<void> {
    await this.call(
      async ({ registry, volumes }, _, { process: { env } }) => {
        const { grants } = this.#identities!.records({ env, registry });
        for (const id of volumes.ids()) {
          await grants.grant(id, machine.id, this.home.secrets.get(id)!);
        }
      },
      [this.home],
    );
  }

  /** One more machine. Nothing comes of it when the home dies meanwhile. */
  async addMachine(diskCount: number): Promise<void> {
    const machine = this.#makeMachine(diskCount);
    machine.note('is new');
    await this.#admit(machine);
    await this.#grant(machine);
  }

  /** It is not let in again, and the home is told so. */
  async dismiss(machine: Machine): Promise<void> {
    this.#identities!.dismiss(machine.id);
    this.#onChange();
    await this.call(({ cluster }) => cluster.setNodeDevices(machine.id, 'out'), [this.home]);
  }

  /** Waits until every machine is up and sees all stores. */
  async together(): Promise<void> {
    await gather(this);
  }

  get isUp(): boolean {
    return this.machines.some(({ isUp }) => isUp);
  }

  // Trouble.

  #onChange(): void {
    for (const wake of this.#waiting.splice(0)) wake();
    if (!this.net) return;
    const isTroubled = this.#troubleCount > 0 || this.standing.some(({ isUp }) => !isUp);
    if (isTroubled) {
      this.#troubles += 1;
      this.#troubleEndedMs = Infinity;
      this.#mayBeDegraded = true;
    } else if (this.#troubleEndedMs === Infinity) this.#troubleEndedMs = this.nowMs;
  }

  /** While `work` goes on machines cannot rely on each other. */
  async trouble(work: () => Promise<void>): Promise<void> {
    this.#troubleCount += 1;
    this.#onChange();
    try {
      await work();
    } finally {
      this.#troubleCount -= 1;
      this.#onChange();
    }
  }

  /** Whether no machine has had trouble with another since some time before. */
  wasSettled(sinceMs: number): boolean {
    return sinceMs >= this.#troubleEndedMs + RECOVERY_MS || !this.net;
  }

  /**
   * While it stays the same number nothing has happened that is a reason to fail; `undefined` while
   * there is one.
   */
  get peace(): number | undefined {
    const isPeace = this.impaired.size === 0 && this.aliveCount >= SHARDS_MAX;
    const isExpected = isPeace && this.wasSettled(this.nowMs) && this.planted.name === 'none';
    return isExpected ? this.#impairments + this.#troubles : undefined;
  }

  /** Whether all nodes have noticed what was done, and nothing more can come of it. */
  get isEverythingKnown(): boolean {
    const stores = this.standing.flatMap(({ life }) => [...(life?.stores ?? [])]);
    const isNoticed = stores.every(
      ([disk, { state }]) => disk.state === 'here' || state === 'failed',
    );
    const isQuiet = [...this.impaired.values()].every(({ isInUse }) => !isInUse);
    return isNoticed && isQuiet && this.wasSettled(this.nowMs);
  }

  /** Rises with each impairment. */
  get impairmentCount(): number {
    return this.#impairments;
  }

  /** How many disks may be impaired now. */
  get impairedMax(): number {
    return this.#mayBeDegraded ? 1 : TOLERANCE;
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

  /** Everything has all its shards, and did when the run that says so began. */
  isWholeSince(startMs: number): void {
    const isOld = [...this.#underWay].some(({ sinceMs }) => sinceMs < this.#troubleEndedMs);
    if (this.#troubleEndedMs < startMs && !isOld) this.#mayBeDegraded = false;
  }

  // Asking.

  /** A node of these that is up and serves the volume; waits for it. */
  async #up(candidates: () => readonly Machine[]): Promise<Machine> {
    for (;;) {
      const up = candidates().filter(({ isUp }) => isUp);
      if (up.length > 0) return this.#routing.pick(up);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Asks one of these nodes for something; a crash of it ends that. */
  async call<Result>(
    work: (core: Core, objects: ObjectStore, life: UpLife) => Promise<Result>,
    machines?: readonly Machine[],
  ): Promise<Outcome<Result>> {
    const machine = await this.#up(() => machines ?? this.#serving());
    const life = machine.upLife!;
    const call = { sinceMs: this.nowMs };
    this.#underWay.add(call);
    try {
      return await machine.call(life, async (core) => await work(core, objectsOf(core), life));
    } finally {
      this.#underWay.delete(call);
    }
  }

  /** A new one does not know the volume for a while. */
  #serving(): readonly Machine[] {
    return this.standing.filter(({ upLife }) => upLife?.core.volumes.ids().length);
  }

  /** Ends and begins all nodes anew, with a pause between. */
  async restart(pauseMs = 0): Promise<void> {
    this.counts.restarts += 1;
    for (const machine of this.standing.toReversed()) await machine.stop();
    if (pauseMs > 0) await this.sleep(pauseMs);
    for (const machine of this.standing) await machine.start();
    if (this.net) await this.together();
  }

  /** All that are down are started. */
  async bringUp(): Promise<void> {
    for (const machine of this.standing) if (machine.isDown) await machine.start();
  }

  /** Stores that work, whatever their nodes have noticed. */
  get aliveCount(): number {
    const all = this.standing.flatMap(({ life }) => [...(life?.stores ?? [])]);
    return all.filter(([disk, { state }]) => disk.state === 'here' && state !== 'failed').length;
  }

  /** The stores of all machines, those that serve before their core is open included. */
  stores(): ExtentStore[] {
    return this.standing.flatMap((machine) => machine.stores());
  }

  /** Gives a machine one disk more. */
  makeDisk(machine: Machine): SimDisk {
    return machine.makeDisk(this.#diskCount++);
  }

  noteOutcome(what: string, outcome: Outcome<unknown>): void {
    const { kind } = outcome;
    this.note(`${what}: ${kind === 'failed' ? textOf(outcome.error) : kind}`);
  }
}

export type UpLife = NonNullable<Machine['upLife']>;

/** `undefined` is asked only of cores that have no volume yet. */
function objectsOf({ volumes }: Core): ObjectStore {
  return (volumes.ids().length > 0 ? volumes.objects(VOLUME) : undefined)!;
}
