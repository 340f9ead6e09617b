/**
 * The warden's care for the ring: forms one, replaces members that are gone, adds seats. It does
 * one step of ring-plan.ts at a time, from what it finds; so it may stop anywhere, and two of them
 * do no harm: the record is changed by compare-and-set, and etcd takes each change once.
 *
 * It changes nothing unless a majority has just answered. A ring that it forms carries nothing
 * until it is whole, so one that does not come up is given up and another one is begun.
 */
import {
  errorCode,
  errorMessage,
  HoldfastError,
  mapBounded,
  MiB,
  type NodeId,
  throwIfAborted,
  toHex,
  utf8,
} from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { EtcdConnection, EtcdMember, makeRoom, type Registry } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import { hasLeader, type RingStatus } from './own-etcd.ts';
import { type RingAsks, ringAsks } from './ring-asks.ts';
import { RingCandidates, type RingNodeView } from './ring-candidates.ts';
import type { RingPart } from './ring-part.ts';
import { nextStep, type RingStep, type SeatHealth } from './ring-plan.ts';
import {
  decodeRing,
  encodeRing,
  FIRST_LIFE,
  isNewerRing,
  peerUrlOf,
  RING_KEY,
  type RingRecord,
  type RingSeat,
  seatOf,
} from './ring-record.ts';

const LOOK_EVERY_MS = 2000;
const ROOM_EVERY_MS = 60_000;
/** Some seconds of as much as a ring takes. */
const COMPACT_AFTER_BYTES = 128 * MiB;
/** Between looks while a ring is being formed, and how long that may take. */
const FORM_LOOK_MS = 250;
const FORM_MS = 60_000;
/** Time for an etcd to come up that is new. */
const START_MS = 30_000;
const ASKED_AT_ONCE = 16;
const TOKEN_BYTES = 16;
const SEATS = 3;
/** As soon as five nodes are fit: they bear two losses, as content does. */
const SEATS_OF_MANY = 5;

export interface RingKeeperOptions {
  readonly env: Env;
  /** The one in force: the home's own while a ring is formed, afterwards that on the ring. */
  readonly registry: Pick<Registry, 'get' | 'compareAndSet'>;
  readonly part: RingPart;
  readonly network: Pick<Network, 'call'>;
  readonly metadataNodes: () => readonly RingNodeView[];
  /** Whether a node is no metadata node any more: its seat is given away at once. */
  readonly isRemoved?: ((node: NodeId) => boolean) | undefined;
  /** After this a member that does not answer is replaced. */
  readonly graceMs: number;
  /** The ring's past is let go of when so much has come together. */
  readonly compactAfterBytes?: number | undefined;
  /** A ring that is not whole by then is begun anew, without who does not take a seat. */
  readonly formMs?: number | undefined;
}

interface Look {
  readonly record: RingRecord;
  readonly statuses: ReadonlyMap<NodeId, RingStatus | undefined>;
  readonly contact: EtcdMember;
}

export class RingKeeper {
  readonly candidates: RingCandidates;
  readonly #options: RingKeeperOptions;
  readonly #asks: RingAsks;
  readonly #awaySinceMs = new Map<NodeId, number>();
  /** Bytes of etcd's file, since the past was let go of last. */
  #leastInUse = Infinity;

  constructor(options: RingKeeperOptions) {
    const { env, part, network, metadataNodes } = options;
    this.#options = options;
    this.#asks = ringAsks(part, network);
    this.candidates = new RingCandidates({
      clock: env.clock,
      asks: this.#asks,
      nodes: metadataNodes,
    });
  }

  /** The newest record that this node knows. */
  get known(): RingRecord | undefined {
    return this.#options.part.record;
  }

  /** Looks after the ring, if there is one, until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#options.env;
    let roomMadeAtMs = -Infinity;
    for await (const _ of clock.every(LOOK_EVERY_MS, { signal })) {
      await this.#carefully(async () => {
        let outcome = await this.pass();
        while (!signal.aborted && outcome === 'changed') outcome = await this.pass();
      });
      // Whatever came of it: without room no step can be done either.
      const isDue = clock.monotonic() - roomMadeAtMs >= ROOM_EVERY_MS;
      if (!isDue || !this.known || this.known.named || signal.aborted) continue;
      roomMadeAtMs = clock.monotonic();
      await this.#carefully(() => this.#makeRoom());
    }
  }

  async #carefully(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      const reason = errorMessage(error);
      this.#options.env.log.warn('the ring cannot be looked after', { reason });
    }
  }

  /**
   * One look, and one step when there is one to do.
   * @throws HF_UNAVAILABLE when no majority answers; HF_BUSY when somebody else was quicker; what
   *   the registry throws.
   */
  async pass(): Promise<'no ring' | 'at rest' | 'waiting' | 'changed'> {
    const record = await this.#newest();
    if (!record) return 'no ring';
    if (record.named) return 'at rest'; // its owner looks after it
    const statuses = await this.#statuses(record);
    await using contact = await this.#contact(record, statuses);
    const look = { record, statuses, contact };
    const candidates = await this.#ranked(record);
    await this.#letGoOfPast(look);
    const step = nextStep({
      record,
      etcd: await contact.members(),
      health: (node) => this.#health(node, look),
      seatsWanted: seatsFor(candidates.length),
      candidates,
      unwanted: this.#unwanted(record),
    });
    if (step) return await this.#do(step, look);
    return record.members.every(({ state }) => state === 'member') ? 'at rest' : 'waiting';
  }

  /**
   * A ring of its own for a generation of the registry, which is not there yet; goes on with what
   * an earlier call has begun.
   * @throws HF_UNAVAILABLE when fewer than three nodes are fit; HF_INTERRUPTED; what the registry
   *   throws.
   */
  async form(
    generation: number,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<RingRecord> {
    const { env, formMs = FORM_MS } = this.#options;
    const { clock } = env;
    for (;;) {
      const before = await this.#stored();
      const isBegun = before?.generation === generation;
      const proposed = isBegun ? before : await this.#propose(generation, before);
      if (!isBegun) await this.#write(proposed, before);
      const endMs = clock.monotonic() + formMs;
      while (clock.monotonic() < endMs) {
        throwIfAborted(signal);
        await this.#tell(proposed, before);
        if ((await this.#patientPass()) === 'at rest') return (await this.#stored())!;
        await clock.sleep(FORM_LOOK_MS, { signal });
      }
      const record = await this.#stored();
      for (const { node, state } of record?.members ?? []) {
        if (state !== 'member') this.candidates.failed(node);
      }
      if (record) await this.#write(await this.#propose(generation, record), record);
    }
  }

  async #patientPass(): Promise<string> {
    return await this.pass().catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
      return 'waiting';
    });
  }

  async #propose(generation: number, before: RingRecord | undefined): Promise<RingRecord> {
    const { env, metadataNodes } = this.#options;
    const fit = await this.candidates.ranked();
    if (fit.length < SEATS) {
      const message = `only ${fit.length} nodes can take a seat in the ring; ${SEATS} are needed`;
      throw new HoldfastError('HF_UNAVAILABLE', message);
    }
    const version = (before?.version ?? 0) + 1;
    const members = fit
      .slice(0, seatsFor(fit.length))
      .map(({ node }): RingSeat => ({ node, state: 'founder', since: version }));
    // Two that are far from here may be as far from each other as both ways together.
    const views = metadataNodes().filter(({ node }) => members.some((seat) => seat.node === node));
    const [first = 0, second = 0] = views.map(({ rttMs = 0 }) => rttMs).toSorted((a, b) => b - a);
    const token = toHex(env.random.bytes(TOKEN_BYTES));
    return { generation, life: FIRST_LIFE, version, token, roundTripMs: first + second, members };
  }

  async #ranked({ members }: RingRecord): Promise<NodeId[]> {
    const ranked = await this.candidates.ranked(members.map(({ node }) => node));
    return ranked.map(({ node }) => node);
  }

  #unwanted({ members }: RingRecord): ReadonlySet<NodeId> {
    const leaving = this.#options.metadataNodes().filter(({ isLeaving }) => isLeaving);
    const nodes = new Set(leaving.map(({ node }) => node));
    // One that is not listed may only not have been heard of yet; if it is gone, its health tells.
    return new Set(members.map(({ node }) => node).filter((node) => nodes.has(node)));
  }

  // What there is.

  async #stored(): Promise<RingRecord | undefined> {
    const row = await this.#options.registry.get(RING_KEY);
    return row && decodeRing(row.value);
  }

  /** The registry may be one that was restored from a time before: then it is told. */
  async #newest(): Promise<RingRecord | undefined> {
    const { registry, part } = this.#options;
    const row = await registry.get(RING_KEY);
    const stored = row && decodeRing(row.value);
    const known = part.record;
    if (known && stored && isNewerRing(known, stored)) {
      await registry.compareAndSet(RING_KEY, row.version, encodeRing(known));
      return known;
    }
    if (stored) await part.adopt(stored);
    return stored;
  }

  async #statuses(record: RingRecord): Promise<Map<NodeId, RingStatus | undefined>> {
    const found = await mapBounded(record.members, ASKED_AT_ONCE, async (seat) => {
      const status = await this.#asks.status(seat.node);
      return { seat, status };
    });
    const nowMs = this.#options.env.clock.monotonic();
    for (const { seat, status } of found) {
      if (isWell(seat, status)) this.#awaySinceMs.delete(seat.node);
      else if (!this.#awaySinceMs.has(seat.node)) this.#awaySinceMs.set(seat.node, nowMs);
    }
    return new Map(found.map(({ seat, status }) => [seat.node, status]));
  }

  #health(node: NodeId, { record, statuses }: Look): SeatHealth {
    const { env, graceMs, isRemoved } = this.#options;
    const status = statuses.get(node);
    const isMember = seatOf(record, node)?.state === 'member';
    if (isMember && isRemoved?.(node)) return 'gone';
    if (isWell(seatOf(record, node), status)) return 'well';
    if (status?.state === 'lost') return 'gone';
    const sinceMs = this.#awaySinceMs.get(node) ?? Infinity;
    const patienceMs = isMember ? graceMs : Math.max(graceMs, START_MS);
    return env.clock.monotonic() - sinceMs >= patienceMs ? 'gone' : 'away';
  }

  /** Somebody of the ring who has just heard a majority, so that what it knows is so. */
  async #contact(
    { members }: RingRecord,
    statuses: ReadonlyMap<NodeId, RingStatus | undefined>,
  ): Promise<EtcdMember> {
    const { part, env } = this.#options;
    let cause: unknown;
    for (const { node, state } of members) {
      const etcd = statuses.get(node)?.etcd;
      if (!etcd || etcd.isLearner || state === 'leaving' || !hasLeader(etcd)) continue;
      const dial = part.dialOf(node);
      try {
        await using connection = new EtcdConnection({ members: [dial], clock: env.clock });
        const question = { do: 'count', key: utf8(RING_KEY) } as const;
        await connection.transact({ conditions: [], ifMet: [question], ifNot: [] });
        return new EtcdMember({ dial, clock: env.clock });
      } catch (error) {
        cause = error;
      }
    }
    throw new HoldfastError('HF_UNAVAILABLE', 'no majority of the ring answers', { cause });
  }

  // What is done.

  async #do(step: RingStep, { record, contact }: Look): Promise<'changed' | 'waiting'> {
    if (step.do === 'write') {
      await this.#write(step.record, record);
      this.#report(record, step);
      return 'changed';
    }
    try {
      if (step.do === 'add') await contact.addLearner([peerUrlOf(step.node)]);
      else if (step.do === 'promote') await contact.promote(step.id);
      else await contact.remove(step.id);
      return 'changed';
    } catch (error) {
      const code = errorCode(error);
      // Done by somebody else, or not permitted yet: the next look tells.
      if (code !== 'HF_NOT_FOUND' && code !== 'HF_BUSY') throw error;
      const reason = errorMessage(error);
      this.#options.env.log.debug('etcd does not change its members now', { reason });
      return 'waiting';
    }
  }

  #report(before: RingRecord, { record, why }: RingStep & { do: 'write' }): void {
    const nodes = new Set([...before.members, ...record.members].map(({ node }) => node));
    for (const node of nodes) {
      const [was, is] = [seatOf(before, node)?.state, seatOf(record, node)?.state];
      if (was === is) continue;
      this.#options.env.log.info('a seat in the ring has changed', { node, is: is ?? 'none', why });
      const hasFailed = was === 'joining' ? !is : was === 'learner' && is === 'leaving';
      if (hasFailed) this.candidates.failed(node);
    }
  }

  /** @throws HF_BUSY when it is not `before` any more that is to be replaced. */
  async #write(record: RingRecord, before: RingRecord | undefined): Promise<void> {
    const { registry } = this.#options;
    const row = await registry.get(RING_KEY);
    const stored = row && decodeRing(row.value);
    const isBefore = stored?.version === before?.version && stored?.token === before?.token;
    const isSet =
      isBefore &&
      (await registry.compareAndSet(RING_KEY, row?.version ?? 0, encodeRing(record))) !== undefined;
    if (!isSet) throw new HoldfastError('HF_BUSY', 'somebody else has changed the ring');
    await this.#tell(record, before);
  }

  /** etcd itself does so every five minutes; by then a busy ring may have filled its file. */
  async #letGoOfPast({ statuses, contact }: Look): Promise<void> {
    const { compactAfterBytes = COMPACT_AFTER_BYTES, env } = this.#options;
    const sizes = [...statuses.values()].map((status) => status?.etcd?.dbBytesInUse ?? 0);
    const inUse = Math.max(0, ...sizes);
    this.#leastInUse = Math.min(this.#leastInUse, inUse);
    if (inUse - this.#leastInUse < compactAfterBytes) return;
    this.#leastInUse = Infinity;
    await contact.compact().catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('the past of the ring was kept', { reason: errorMessage(error) });
    });
  }

  /** etcd gives none back by itself. */
  async #makeRoom(): Promise<void> {
    const { part, env } = this.#options;
    const nodes = part.record?.members.map(({ node }) => node) ?? [];
    await using members = new AsyncDisposableStack();
    const all = nodes.map((node) => {
      return members.use(new EtcdMember({ dial: part.dialOf(node), clock: env.clock }));
    });
    const { wasFull, dbBytesMax, dbBytesInUseMax } = await makeRoom(all);
    env.metrics.set('node_ring_bytes', dbBytesMax);
    const fields = { dbBytesMax, dbBytesInUseMax };
    if (wasFull) env.log.warn('the ring had no room and took no changes; it has again', fields);
  }

  /** Those with a seat, and who has lost one. Whoever cannot be told now hears of it later. */
  async #tell(record: RingRecord, before: RingRecord | undefined): Promise<void> {
    const { part } = this.#options;
    await part.adopt(record);
    const seats = [...record.members, ...(before?.members ?? [])].map(({ node }) => node);
    const others = [...new Set(seats)].filter((node) => node !== part.self);
    await mapBounded(others, ASKED_AT_ONCE, async (node) => {
      await part.compareWith(node).catch((error: unknown) => {
        if (errorCode(error) === undefined) throw error;
      });
    });
  }
}

/**
 * When one of five is away for a while, three are wanted: then no seat is added, and none is taken
 * away but of who is gone.
 */
function seatsFor(fitCount: number): number {
  return fitCount >= SEATS_OF_MANY ? SEATS_OF_MANY : SEATS;
}

/** One that is to be added has no etcd yet; its node must answer. */
function isWell(seat: RingSeat | undefined, status: RingStatus | undefined): boolean {
  if (seat?.state === 'joining') return status !== undefined;
  return status?.state === 'running' && hasLeader(status.etcd);
}
