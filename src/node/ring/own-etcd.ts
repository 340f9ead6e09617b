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
 *     any → failed         follow: it cannot be started; tried again with every look
 */
import { errorMessage, HoldfastError, LIMITS, MiB, Mutex, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  EtcdMember,
  type DialEtcd,
  type EtcdMemberOptions,
  EtcdRunner,
  type EtcdStatus,
} from '../../log/index.ts';
import { EtcdProgram } from './etcd-process.ts';
import { CLIENT_SOCKET, ETCD_DATA, type RingFolder } from './ring-folder.ts';
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
  /** The way to its client side. */
  readonly dial: DialEtcd;
  readonly memoryBytesMax?: number | undefined;
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
  #isClosed = false;

  constructor(options: OwnEtcdOptions) {
    const { env, folder, self, program, dial } = options;
    this.#options = options;
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
    const before = this.#record;
    this.#record = record;
    this.#reason = undefined;
    try {
      const seat = seatOf(record, this.#options.self);
      if (record && seat && isInEtcd(seat)) await this.#sit(record, seat);
      else await this.#stand(record, before);
    } catch (error) {
      this.#state = 'failed';
      this.#reason = errorMessage(error);
      this.#options.env.log.warn('the etcd of this node does not run', { reason: this.#reason });
    }
  }

  async #sit(record: RingRecord, seat: RingSeat): Promise<void> {
    const { folder } = this.#options;
    const own = await folder.readOwn();
    const isOwn = own?.token === record.token && own.since === seat.since;
    const hasData = isOwn && (await folder.hasData());
    // One that has begun hears of the others by itself; before, it must be told who they are.
    if (this.#state === 'running' && hasData) return;
    const options = this.#memberOptions(record, seat);
    const hasPromised = own?.hasRun || seat.state === 'member';
    if (isOwn && (hasData || !hasPromised)) {
      await this.#runner.run(options);
    } else if (!isOwn && (seat.state === 'founder' || seat.state === 'learner')) {
      await this.#runner.stop();
      await folder.clearData();
      await folder.writeOwn({ token: record.token, since: seat.since, hasRun: false });
      await this.#runner.run(options);
    } else {
      await this.#runner.stop();
      this.#state = 'lost';
      this.#reason = 'the data of its etcd is gone; the node will be replaced in the ring';
      return;
    }
    this.#state = 'running';
  }

  /** What its etcd had is of no use, unless the ring was restored without it. */
  async #stand(record: RingRecord | undefined, before: RingRecord | undefined): Promise<void> {
    await this.#runner.stop();
    this.#state = 'none';
    if (!record) return;
    const isOfBefore = before?.generation === record.generation && before.life < record.life;
    await this.#options.folder.clearData(
      isOfBefore ? `${ETCD_DATA}.life-${before.life}` : undefined,
    );
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
    };
  }

  /** @throws HF_NOT_FOUND when there is no data that a ring could be restored from. */
  async assertRestorable(): Promise<void> {
    if (await this.#options.folder.hasData()) return;
    throw new HoldfastError('HF_NOT_FOUND', 'nothing of the ring is left on this node');
  }

  /**
   * Makes a ring of this node alone out of its data.
   * @param record what holds from then on: this node has the only seat.
   * @throws HF_NOT_FOUND, HF_IO, HF_UNAVAILABLE when it does not come up.
   */
  async restore(record: RingRecord): Promise<void> {
    await this.#changing.run(async () => {
      await this.assertRestorable();
      const options = this.#memberOptions(record, record.members[0]!);
      // Once, to forget the others; then as it will always start.
      for (const isRestored of [true, false]) {
        await this.#runner.run({ ...options, isRestored });
        await this.#untilItLeads();
      }
      this.#record = record;
      this.#state = 'running';
      this.#reason = undefined;
    });
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
    return { state, restartCount: this.#runner.restartCount, etcd, reason: this.#reason };
  }

  async #ask(): Promise<EtcdStatus | undefined> {
    return await this.#member.status().catch(() => undefined);
  }

  /** One look after it. @throws HF_IO. */
  async look(): Promise<void> {
    if (this.#state === 'failed') await this.follow(this.#record);
    await this.#noteRun();
    await this.#program.rotateLog();
    await this.#relieve();
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
