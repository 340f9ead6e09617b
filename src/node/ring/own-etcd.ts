/**
 * The etcd of this node: it runs while the record gives the node a seat that etcd knows of.
 *
 * What etcd has in its folder belongs to one seat (`own.json`). A new seat begins with nothing. Who
 * has promised to keep something and has it no more must not come back as who it was, since it
 * would promise other things now: such a seat is *lost*, and waits to be replaced.
 *
 *     none → running       #sit: a seat; its data is there, or the seat is new
 *     any → lost           #sit: the data is gone
 *     any → none           #stand: no seat any more
 *     any → restoring → running   restore: its data becomes a ring of its own; until that has been
 *                                  told to all (endRestore) nobody is let in, by no way
 *     any → failed         follow: it cannot be started; tried again with every look
 */
import {
  errorMessage,
  GiB,
  HoldfastError,
  LIMITS,
  MiB,
  Mutex,
  type NodeId,
} from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  beginLife,
  EtcdConnection,
  EtcdMember,
  type DialEtcd,
  type EtcdMemberOptions,
  EtcdRunner,
  type EtcdStatus,
} from '../../log/index.ts';
import { EtcdProgram } from './etcd-process.ts';
import { CLIENT_SOCKET, ETCD_DATA, type OwnData, type RingFolder } from './ring-folder.ts';
import {
  isInEtcd,
  peerUrlOf,
  type RingRecord,
  type RingSeat,
  seatOf,
  socketName,
} from './ring-record.ts';

/** Its own etcd is asked how it is. */
const STATUS_MS = 1500;
const LOOK_MS = 100;
/** Far above what etcd should need with our limits (docs/design/0005). */
const MEMORY_BYTES_MAX = 1536 * MiB;
/** Of its file, and as far as that may go. */
const QUOTA_BYTES = 2 * GiB;
const QUOTA_BYTES_MAX = 32 * GiB;
/** Of the quota: when so much is in use, not only in the file, etcd gets a larger one. */
const USE_MAX = 0.75;
/** Members are started anew one after the other, by chance. */
const ONE_OF_LOOKS = 3;
/** Between two new starts for its memory's sake. */
const RELIEF_EVERY_MS = 3_600_000;

/** `lost`: it has a seat, and not the data that it promised to keep; it must be replaced. */
export type OwnState = 'none' | 'running' | 'waiting' | 'lost' | 'failed';

/** What a node says of its etcd. */
export interface RingStatus {
  readonly state: OwnState;
  /** Ends that nobody asked for, in this life of the node. */
  readonly restartCount: number;
  /** What its etcd says; `undefined` when that does not answer. */
  readonly etcd: EtcdStatus | undefined;
  /** Why it is not well, for people. */
  readonly reason: string | undefined;
}

export interface OwnEtcdOptions {
  readonly env: Env;
  readonly folder: RingFolder;
  readonly self: NodeId;
  /** Path of the program; `undefined`: none is installed. */
  readonly program: string | undefined;
  /** The way to its client side, which nobody else takes. */
  readonly dial: DialEtcd;
  readonly memoryBytesMax?: number | undefined;
  /** Of its file, at first: see `#giveRoom`. */
  readonly quotaBytes?: number | undefined;
}

export class OwnEtcd implements AsyncDisposable {
  readonly #options: OwnEtcdOptions;
  readonly #program: EtcdProgram;
  readonly #runner: EtcdRunner;
  readonly #member: EtcdMember;
  readonly #changing = new Mutex();
  #record: RingRecord | undefined;
  #state: OwnState = 'none';
  #reason: string | undefined;
  #relievedAtMs = -Infinity;
  #quotaBytes: number;
  #isClosed = false;
  #isRestoring = false;

  constructor(options: OwnEtcdOptions) {
    const { env, folder, self, program, dial } = options;
    this.#options = options;
    this.#quotaBytes = options.quotaBytes ?? QUOTA_BYTES;
    const sockets = [CLIENT_SOCKET, socketName(self)];
    this.#program = new EtcdProgram({ env, folder, program, sockets });
    this.#runner = new EtcdRunner({ machine: this.#program, env });
    this.#member = new EtcdMember({ dial, clock: env.clock, deadlineMs: STATUS_MS });
  }

  /** Of its process, while it runs. */
  get pid(): number | undefined {
    return this.#program.pid;
  }

  /** Does what the record says from now on. Never fails: it is tried again. */
  async follow(record: RingRecord | undefined): Promise<void> {
    await this.#changing.run(() => this.#follow(record));
  }

  async #follow(record: RingRecord | undefined): Promise<void> {
    if (this.#isClosed) return;
    this.#record = record;
    this.#reason = undefined;
    this.#isRestoring = false;
    try {
      const seat = seatOf(record, this.#options.self);
      if (record && seat && isInEtcd(seat)) await this.#sit(record, seat);
      else await this.#stand(record);
    } catch (error) {
      this.#state = 'failed';
      this.#reason = errorMessage(error);
      this.#options.env.log.warn('the etcd of this node does not run', { reason: this.#reason });
    }
  }

  async #sit(record: RingRecord, seat: RingSeat): Promise<void> {
    const { folder } = this.#options;
    const own = await folder.readOwn();
    if ((own?.restoring ?? 0) > record.life) return; // that is to be ended first
    const isOwn = own?.token === record.token && own.since === seat.since;
    const hasData = isOwn && (await folder.hasData());
    // One that has begun hears of the others by itself; before, it must be told who they are.
    if (this.#state === 'running' && hasData) return;
    // One that had more room needs it again.
    const dbBytes = await folder.dbBytes();
    while (dbBytes > this.#quotaBytes / 2 && this.#quotaBytes < QUOTA_BYTES_MAX) {
      this.#quotaBytes *= 2;
    }
    const options = this.#memberOptions(record, seat);
    const hasPromised = own?.hasRun || seat.state === 'member';
    if (isOwn && (hasData || !hasPromised)) {
      await this.#runner.run(options);
    } else if (!isOwn && (seat.state === 'founder' || seat.state === 'learner')) {
      await this.#runner.stop();
      await this.#letGo(record);
      const { token, life } = record;
      await folder.writeOwn({ token, life, since: seat.since, hasRun: false });
      await this.#runner.run(options);
    } else {
      await this.#runner.stop();
      this.#state = 'lost';
      this.#reason = 'the data of its etcd is gone; the node will be replaced in the ring';
      return;
    }
    this.#state = 'running';
  }

  async #stand(record: RingRecord | undefined): Promise<void> {
    await this.#runner.stop();
    this.#state = 'none';
    if (record) await this.#letGo(record);
  }

  /**
   * What its etcd had is of no use, unless the ring goes on without it: then people may want it.
   */
  async #letGo({ token, life }: RingRecord): Promise<void> {
    const { folder } = this.#options;
    const own = await folder.readOwn();
    const isOfThisRing = own?.token === token && own.life === life;
    await folder.clearData(own && !isOfThisRing ? `${ETCD_DATA}.life-${own.life}` : undefined);
  }

  #memberOptions(record: RingRecord, seat: RingSeat): EtcdMemberOptions {
    const ring = record.members
      .filter(isInEtcd)
      .map(({ node }) => ({ name: node, peerUrl: peerUrlOf(node) }));
    return {
      name: this.#options.self,
      // Names without a folder: etcd runs in its own.
      dataDirectory: ETCD_DATA,
      listenPeerUrl: peerUrlOf(this.#options.self),
      listenClientUrl: `unix://${CLIENT_SOCKET}`,
      ring,
      token: record.token,
      isNewRing: seat.state === 'founder',
      roundTripMs: record.roundTripMs,
      quotaBytes: this.#quotaBytes,
    };
  }

  /** @throws HF_NOT_FOUND when there is no data of that ring. */
  async assertRestorable({ token }: Pick<RingRecord, 'token'>): Promise<void> {
    const { folder } = this.#options;
    const own = await folder.readOwn();
    if ((await folder.hasData()) && (own?.token ?? token) === token) return;
    throw new HoldfastError('HF_NOT_FOUND', 'nothing of the ring is left on this node');
  }

  /**
   * Makes a ring of this node alone out of its data. From here on nobody of the ring before may be
   * talked to, after a crash neither: so a mark is set first, and goes with `endRestore`.
   * @param record what is to hold then: this node has the only seat.
   * @throws HF_NOT_FOUND, HF_IO, HF_UNAVAILABLE when it does not come up: to be done again.
   */
  async restore(record: RingRecord): Promise<void> {
    await this.#changing.run(async () => {
      await this.assertRestorable(record);
      this.#isRestoring = true;
      this.#state = 'failed';
      this.#reason = 'it is being restored';
      await this.#noteOwn(record, { restoring: record.life });
      const options = this.#memberOptions(record, record.members[0]!);
      // Once, to forget the others; then as it will always start.
      await this.#runner.run({ ...options, isRestored: true });
      await this.#untilItLeads();
      await this.#beginLife(record.life);
      await this.#runner.run(options);
      await this.#untilItLeads();
    });
  }

  /** Others are let in from now on: the record is where it will be found after a crash. */
  async endRestore(record: RingRecord): Promise<void> {
    await this.#changing.run(async () => {
      await this.#noteOwn(record, { restoring: undefined, life: record.life });
      this.#record = record;
      this.#state = 'running';
      this.#reason = undefined;
      this.#isRestoring = false;
    });
  }

  /** What cannot be read of it the record tells. */
  async #noteOwn({ token, life, members }: RingRecord, change: Partial<OwnData>): Promise<void> {
    const { folder } = this.#options;
    const { since } = members[0]!;
    const own = (await folder.readOwn()) ?? { token, since, life: life - 1, hasRun: true };
    await folder.writeOwn({ ...own, hasRun: true, ...change });
  }

  /** Nobody may mistake what was known of the time that is lost for what is so now. */
  async #beginLife(life: number): Promise<void> {
    const { dial, env } = this.#options;
    await using kv = new EtcdConnection({ members: [dial], clock: env.clock });
    await beginLife({ kv, env }, life);
  }

  async #untilItLeads(): Promise<void> {
    const { clock } = this.#options.env;
    const endMs = clock.monotonic() + LIMITS.remoteCallMs;
    while (!hasLeader(await this.#ask())) {
      if (clock.monotonic() >= endMs) {
        throw new HoldfastError('HF_UNAVAILABLE', 'the etcd of this node does not come up');
      }
      await clock.sleep(LOOK_MS);
    }
  }

  async status(): Promise<RingStatus> {
    const isUp = this.#state === 'running' && this.#runner.state === 'running';
    const state = this.#state === 'running' && !isUp ? 'waiting' : this.#state;
    const etcd = isUp ? await this.#ask() : undefined;
    const reason = this.#reason ?? (etcd ? undefined : this.#runner.failure);
    return { state, restartCount: this.#runner.restartCount, etcd, reason };
  }

  async #ask(): Promise<EtcdStatus | undefined> {
    return await this.#member.status().catch(() => undefined);
  }

  /** One look after it. @throws HF_IO. */
  async look(): Promise<void> {
    if (this.#state === 'failed' && !this.#isRestoring) await this.follow(this.#record);
    await this.#noteRun();
    await this.#program.rotateLog();
    await this.#relieve();
    await this.#giveRoom();
  }

  /** From now on it has promised something. */
  async #noteRun(): Promise<void> {
    const { folder } = this.#options;
    const own = await folder.readOwn();
    if (!own || own.hasRun || !hasLeader((await this.status()).etcd)) return;
    await this.#changing.run(async () => {
      const now = await folder.readOwn();
      const isSame = now?.since === own.since && now.token === own.token;
      if (isSame) await folder.writeOwn({ ...now, hasRun: true });
    });
  }

  /** One that has grown too far starts anew, and another one leads meanwhile. */
  async #relieve(): Promise<void> {
    const { env, memoryBytesMax = MEMORY_BYTES_MAX } = this.#options;
    const bytes = await this.#program.memoryBytes();
    if (bytes === undefined) return;
    env.metrics.set('node_etcd_memory_bytes', bytes);
    const isDue = env.clock.monotonic() - this.#relievedAtMs >= RELIEF_EVERY_MS;
    if (bytes <= memoryBytesMax || !isDue) return;
    this.#relievedAtMs = env.clock.monotonic();
    env.log.warn('etcd takes too much memory and is started anew', { bytes });
    this.#program.end();
  }

  /**
   * What is in use no compaction gives back. It goes when cells save snapshots; but an etcd without
   * room takes no change by which they could.
   */
  async #giveRoom(): Promise<void> {
    const { env, folder } = this.#options;
    const inUse = (await this.status()).etcd?.dbBytesInUse ?? 0;
    const isDue = inUse > this.#quotaBytes * USE_MAX && this.#quotaBytes < QUOTA_BYTES_MAX;
    if (!isDue || env.random.below(ONE_OF_LOOKS) > 0) return;
    await this.#changing.run(async () => {
      const seat = seatOf(this.#record, this.#options.self);
      const isSitting = this.#state === 'running' && !this.#isClosed && (await folder.hasData());
      if (!isSitting || !this.#record || !seat) return;
      this.#quotaBytes *= 2;
      env.log.warn('the ring is filling up: cells do not save snapshots', { inUse });
      await this.#runner.run(this.#memberOptions(this.#record, seat));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#changing.run(async () => {
      this.#isClosed = true;
      await this.#runner.stop();
    });
    await this.#member[Symbol.asyncDispose]();
  }
}

export function hasLeader(status: EtcdStatus | undefined): boolean {
  return status !== undefined && status.leader !== '0';
}
