/**
 * Keeps one etcd process of this node running: hands over its configuration, starts it, starts it
 * again when it ends, replaces it and stops it. The machine's part (files, processes) is the
 * caller's, so that a simulation can have processes, too.
 *
 * A *ring* is the members that together are one etcd. They find each other under the peer addresses
 * in the configuration; what is behind an address (a port or a socket of the member itself, or one
 * that leads through our own connections to another node) is the caller's affair (design/0007).
 */
import { assert, errorMessage, Mutex } from '../base/index.ts';
import type { Env } from '../env/index.ts';

/** As others of the ring know it. */
export interface RingMember {
  /** Unique in the ring. */
  readonly name: string;
  /** "http://127.0.0.1:2380", or "unix://name:1", a socket in the folder where each etcd runs. */
  readonly peerUrl: string;
}

export interface EtcdMemberOptions {
  readonly name: string;
  readonly dataDirectory: string;
  readonly listenPeerUrl: string;
  readonly listenClientUrl: string;
  /** All members, this one too. */
  readonly ring: readonly RingMember[];
  /** Names the ring: members of another one are not talked to. */
  readonly token: string;
  /** False when the member joins a ring that is there already. */
  readonly isNewRing: boolean;
  /** Makes a ring of this member alone out of its data, when the others are lost. */
  readonly isRestored?: boolean;
  /** The longest round trip between members; by default that of a local network. */
  readonly roundTripMs?: number;
  /** Of its file; by default 2 GiB. Then it takes no puts any more, see etcd-room.ts. */
  readonly quotaBytes?: number;
}

/** Log entries that etcd keeps in memory: its size is this many times theirs. */
const SNAPSHOT_COUNT = 1000;
/** Of the past, which nobody reads but pages of one list. */
const KEPT_REVISIONS = 1000;
const QUOTA_BYTES = 2 * 1024 ** 3;
/** etcd's own advice: the round trip, and ten times that. */
const HEARTBEAT_MS_MIN = 100;
const HEARTBEATS_PER_ELECTION = 10;

const PAUSE_MS_MIN = 250;
const PAUSE_MS_MAX = 30_000;
/** After so many ends in a row it is hardly a matter of seconds any more, and each is a warning. */
const ENDS_OF_PATIENCE = 10;
const PAUSE_MS_OF_PATIENCE = 10 * 60_000;
/** A process that ran so long did not fail at once: the next pause is short again. */
const STEADY_MS = 60_000;
/** Then a process that was asked to end is killed. */
const STOP_MS = 5000;

/** The text of etcd's configuration file (JSON is YAML). Source: etcd.conf.yml.sample. */
export function etcdConfiguration(options: EtcdMemberOptions): string {
  const { name, ring, token, roundTripMs = 0 } = options;
  const self = ring.find((member) => member.name === name);
  assert(self, 'a member is part of its ring');
  assert(ring.length % 2 === 1 || !options.isNewRing, 'a ring has a majority');
  const heartbeat = Math.max(HEARTBEAT_MS_MIN, Math.ceil(roundTripMs));
  const settings = {
    name,
    'data-dir': options.dataDirectory,
    'listen-peer-urls': options.listenPeerUrl,
    'listen-client-urls': options.listenClientUrl,
    'initial-advertise-peer-urls': self.peerUrl,
    'advertise-client-urls': options.listenClientUrl,
    'initial-cluster': ring.map((member) => `${member.name}=${member.peerUrl}`).join(','),
    'initial-cluster-token': token,
    'initial-cluster-state': options.isNewRing ? 'new' : 'existing',
    'force-new-cluster': options.isRestored ?? false,
    'heartbeat-interval': heartbeat,
    'election-timeout': heartbeat * HEARTBEATS_PER_ELECTION,
    'snapshot-count': SNAPSHOT_COUNT,
    'auto-compaction-mode': 'revision',
    'auto-compaction-retention': String(KEPT_REVISIONS),
    'quota-backend-bytes': options.quotaBytes ?? QUOTA_BYTES,
    'strict-reconfig-check': true,
    // Who was away or cut off does not unseat a leader that the others hear.
    'pre-vote': true,
    // We speak gRPC; the gateway is one more door, and would dial the client address itself.
    'enable-grpc-gateway': false,
    logger: 'zap',
    'log-level': 'warn',
    'log-outputs': ['stderr'],
  };
  return `${JSON.stringify(settings, undefined, 2)}\n`;
}

export interface EtcdProcess {
  /** Resolves, with a reason for people, when it has ended. */
  readonly ended: Promise<string>;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
}

/** Files and processes of one member. */
export interface EtcdMachine {
  /** Writes the configuration file and starts etcd with it. @throws HF_NOT_FOUND, HF_IO. */
  start(configuration: string): Promise<EtcdProcess>;
  /** Removes the member's data: it must not come back as who it was. @throws HF_IO. */
  clear(dataDirectory: string): Promise<void>;
}

export interface EtcdRunnerOptions {
  readonly machine: EtcdMachine;
  readonly env: Pick<Env, 'clock' | 'log'>;
}

/** Started, and told to run; ended, and to be started again; not to run. */
export type EtcdRunnerState = 'running' | 'waiting' | 'stopped';

export class EtcdRunner implements AsyncDisposable {
  readonly #machine: EtcdMachine;
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #changing = new Mutex();
  #stopping: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();
  #process: EtcdProcess | undefined;
  #startedAtMs = 0;
  #lastEnd: string | undefined;
  /** Ends that nobody asked for. */
  restartCount = 0;

  constructor({ machine, env }: EtcdRunnerOptions) {
    this.#machine = machine;
    this.#env = env;
  }

  get state(): EtcdRunnerState {
    if (this.#process) return 'running';
    return this.#stopping ? 'waiting' : 'stopped';
  }

  /** Why it ended last, or does not start; `undefined` while it runs well. */
  get failure(): string | undefined {
    const runMs = this.#env.clock.monotonic() - this.#startedAtMs;
    return this.#process && runMs >= STEADY_MS ? undefined : this.#lastEnd;
  }

  /** Runs the member from now on. @throws HF_NOT_FOUND, HF_IO when the first start fails. */
  async run(options: EtcdMemberOptions): Promise<void> {
    await this.#changing.run(async () => {
      await this.#stop();
      await this.#begin(options);
    });
  }

  /** Runs another member instead, from nothing. */
  async replace(options: EtcdMemberOptions): Promise<void> {
    await this.#changing.run(async () => {
      await this.#stop();
      await this.#machine.clear(options.dataDirectory);
      await this.#begin(options);
    });
  }

  async #begin(options: EtcdMemberOptions): Promise<void> {
    const configuration = etcdConfiguration(options);
    const first = await this.#machine.start(configuration);
    this.#process = first;
    this.#lastEnd = undefined;
    this.#startedAtMs = this.#env.clock.monotonic();
    this.#stopping = new AbortController();
    this.#running = this.#keep(configuration, first, this.#stopping.signal);
  }

  /** Starts it again whenever it ends. Never fails. */
  async #keep(configuration: string, first: EtcdProcess, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#env;
    let endCount = 0;
    for (let current: EtcdProcess | undefined = first; ;) {
      if (current) {
        const reason = await current.ended;
        this.#process = undefined;
        if (signal.aborted) return;
        this.restartCount += 1;
        this.#lastEnd = `etcd ended: ${reason}`;
        log.warn('etcd ended and is started again', { reason });
      }
      if (current && clock.monotonic() - this.#startedAtMs >= STEADY_MS) endCount = 0;
      endCount += 1;
      if (endCount === ENDS_OF_PATIENCE) {
        const reason = this.#lastEnd;
        log.error('etcd ends again and again; it is tried every ten minutes', { reason });
      }
      await clock.sleep(pauseMsAfter(endCount), { signal }).catch(() => {});
      if (signal.aborted) return;
      this.#startedAtMs = clock.monotonic();
      current = await this.#tryStart(configuration);
      this.#process = current;
      if (signal.aborted) current?.kill('SIGTERM'); // it was told to stop meanwhile
    }
  }

  async #tryStart(configuration: string): Promise<EtcdProcess | undefined> {
    try {
      return await this.#machine.start(configuration);
    } catch (error) {
      this.#lastEnd = `etcd could not be started: ${errorMessage(error)}`;
      this.#env.log.warn('etcd could not be started', { reason: errorMessage(error) });
      return undefined;
    }
  }

  async stop(): Promise<void> {
    await this.#changing.run(() => this.#stop());
  }

  async #stop(): Promise<void> {
    this.#stopping?.abort();
    this.#stopping = undefined;
    this.#process?.kill('SIGTERM');
    const ended = new AbortController();
    const killing = this.#env.clock.sleep(STOP_MS, { signal: ended.signal }).then(
      () => this.#process?.kill('SIGKILL'),
      () => {},
    );
    await this.#running;
    ended.abort();
    await killing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** @param endCount how often in a row it has ended, or not started. */
function pauseMsAfter(endCount: number): number {
  if (endCount >= ENDS_OF_PATIENCE) return PAUSE_MS_OF_PATIENCE;
  return Math.min(PAUSE_MS_MIN * 2 ** (endCount - 1), PAUSE_MS_MAX);
}
