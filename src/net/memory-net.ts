/**
 * A network in memory, for simulations and tests: `memory://host:port`. Time passes on the clock of
 * its Env and chance comes from its seed, so a run repeats. Faults can be changed while it runs:
 * delay, bandwidth, connections that break, flipped bits, and partitions, in which bytes and dials
 * wait until the network heals, as TCP would have it.
 */
import { Duplex } from 'node:stream';
import { assert, HoldfastError, LIMITS, MiB, type NodeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { formatAddress, type NetAddress } from './address.ts';
import type { DialOptions, Listener, SecureDuplex, Transport } from './types.ts';

export interface MemoryFaults {
  /** From an end to the other. */
  delayMs: number;
  /** Up to this much more, drawn for each piece; order is kept. */
  jitterMs: number;
  /** Of each direction of each connection. */
  bytesPerSecond: number;
  /** Pieces out of a million whose connection breaks, in which a bit flips. */
  breaksPerMillion: number;
  flipsPerMillion: number;
}

const NO_FAULTS: Readonly<MemoryFaults> = {
  delayMs: 0,
  jitterMs: 0,
  bytesPerSecond: Infinity,
  breaksPerMillion: 0,
  flipsPerMillion: 0,
};

/** Bytes under way in one direction before the writer waits: a socket's buffer. */
const UNDER_WAY_BYTES_MAX = MiB;

interface Host {
  readonly node: NodeId;
  readonly onPeer: (peer: SecureDuplex) => void;
}

export class MemoryNet {
  readonly env: Env;
  readonly faults: MemoryFaults;
  readonly #hosts = new Map<string, Host>();
  readonly #pipes = new Set<MemoryPipe>();
  #nextPort = 1024;
  #isCut: (a: NodeId, b: NodeId) => boolean = () => false;
  #healed = Promise.withResolvers<void>();

  constructor(env: Env, faults: Partial<MemoryFaults> = {}) {
    this.env = env;
    this.faults = { ...NO_FAULTS, ...faults };
  }

  /** The network as one node sees it. */
  transport(node: NodeId): Transport {
    return {
      scheme: 'memory',
      listen: async (address, onPeer) => this.#listen(address, { node, onPeer }),
      dial: (address, options) => this.#dial(node, address, options),
    };
  }

  /** Nodes for which `isCut` holds do not hear each other until the next call. */
  partition(isCut: (a: NodeId, b: NodeId) => boolean): void {
    this.#isCut = isCut;
    this.#healed.resolve();
    this.#healed = Promise.withResolvers();
  }

  heal(): void {
    this.partition(() => false);
  }

  /** Breaks every connection of a node: its process was killed. */
  cut(node: NodeId): void {
    for (const pipe of this.#pipes) if (pipe.self === node) pipe.break();
  }

  /** Connections that are open. */
  get connectionCount(): number {
    return this.#pipes.size / 2;
  }

  /** Waits while the two are parted. */
  async passage(a: NodeId, b: NodeId): Promise<void> {
    while (this.#isCut(a, b) || this.#isCut(b, a)) await this.#healed.promise;
  }

  #listen(address: NetAddress, host: Host): Listener {
    const bound = { ...address, port: address.port || this.#nextPort++ };
    const key = formatAddress(bound);
    if (this.#hosts.has(key)) throw new HoldfastError('HF_UNAVAILABLE', `${key} is taken`);
    this.#hosts.set(key, host);
    return {
      address: bound,
      [Symbol.asyncDispose]: async () => void this.#hosts.delete(key),
    };
  }

  async #dial(
    self: NodeId,
    address: NetAddress,
    { expect, signal }: DialOptions,
  ): Promise<SecureDuplex> {
    const key = formatAddress(address);
    const host = this.#hosts.get(key);
    if (!host) throw new HoldfastError('HF_UNAVAILABLE', `nobody listens on ${key}`);
    await untilAborted(this.#handshake(self, host.node), signal);
    if (this.#hosts.get(key) !== host) throw new HoldfastError('HF_UNAVAILABLE', `${key} is gone`);
    if (expect !== undefined && host.node !== expect) {
      throw new HoldfastError('HF_DENIED', `${key} is ${host.node}, not ${expect}`);
    }
    const near = new MemoryPipe(this, self, host.node);
    const far = new MemoryPipe(this, host.node, self);
    near.join(far);
    for (const pipe of [near, far]) {
      this.#pipes.add(pipe);
      pipe.once('close', () => this.#pipes.delete(pipe));
    }
    host.onPeer({ duplex: far, remote: self });
    return { duplex: near, remote: host.node };
  }

  /** Three ways, as TCP and TLS 1.3 have it before the first byte. */
  async #handshake(a: NodeId, b: NodeId): Promise<void> {
    await this.passage(a, b);
    if (this.faults.delayMs > 0) await this.env.clock.sleep(3 * this.faults.delayMs);
    await this.passage(a, b);
  }
}

async function untilAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  const gone = Promise.withResolvers<never>();
  const stop = (): void => gone.reject(new HoldfastError('HF_INTERRUPTED'));
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, gone.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Bytes, or the end of them. */
interface Piece {
  readonly chunk: Buffer | undefined;
  readonly atMs: number;
  readonly onArrived: () => void;
}

/** One end of a connection; what is written here arrives at its twin. */
class MemoryPipe extends Duplex {
  readonly self: NodeId;
  readonly #net: MemoryNet;
  readonly #remote: NodeId;
  #twin: MemoryPipe | undefined;
  readonly #underWay: Piece[] = [];
  #underWayBytes = 0;
  #isPumping = false;
  #lineFreeAtMs = 0;
  /** The writer waits until bytes under way have arrived. */
  #resumeWriter: (() => void) | undefined;
  /** The twin's reader has to take something first. */
  #resumePump: (() => void) | undefined;

  constructor(net: MemoryNet, self: NodeId, remote: NodeId) {
    super({ highWaterMark: LIMITS.dataFrameBytesMax });
    this.#net = net;
    this.self = self;
    this.#remote = remote;
    this.on('error', () => {});
  }

  join(twin: MemoryPipe): void {
    this.#twin = twin;
    twin.#twin = this;
  }

  break(): void {
    this.#twin?.destroy(new Error('the connection was reset'));
    this.destroy(new Error('the connection was reset'));
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#send(chunk);
    if (this.#underWayBytes < UNDER_WAY_BYTES_MAX) done();
    else this.#resumeWriter = done;
  }

  override _final(done: () => void): void {
    this.#send(undefined, done);
  }

  #send(chunk: Buffer | undefined, onArrived: () => void = () => {}): void {
    const { env, faults } = this.#net;
    const nowMs = env.clock.monotonic();
    const bytes = chunk?.length ?? 0;
    const startMs = Math.max(nowMs, this.#lineFreeAtMs);
    this.#lineFreeAtMs = startMs + (1000 * bytes) / faults.bytesPerSecond;
    const jitterMs = faults.jitterMs > 0 ? env.random.below(faults.jitterMs + 1) : 0;
    const atMs = this.#lineFreeAtMs + faults.delayMs + jitterMs;
    this.#underWay.push({ chunk: chunk && this.#damaged(chunk), atMs, onArrived });
    this.#underWayBytes += bytes;
    if (!this.#isPumping) void this.#pump();
  }

  #damaged(chunk: Buffer): Buffer {
    if (!this.#happens(this.#net.faults.flipsPerMillion)) return Buffer.from(chunk);
    const flipped = Buffer.from(chunk);
    const bit = this.#net.env.random.below(chunk.length * 8);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    return flipped;
  }

  #happens(perMillion: number): boolean {
    return perMillion > 0 && this.#net.env.random.below(1_000_000) < perMillion;
  }

  /** Delivers in order; one loop at a time. */
  async #pump(): Promise<void> {
    this.#isPumping = true;
    for (let piece = this.#underWay[0]; piece && !this.destroyed; piece = this.#underWay[0]) {
      const { clock } = this.#net.env;
      const waitMs = piece.atMs - clock.monotonic();
      if (waitMs > 0) await clock.sleep(waitMs);
      else await Promise.resolve();
      await this.#net.passage(this.self, this.#remote);
      if (this.destroyed) break;
      if (this.#happens(this.#net.faults.breaksPerMillion)) return this.break();
      this.#underWay.shift();
      await this.#deliver(piece.chunk);
      piece.onArrived();
    }
    this.#isPumping = false;
  }

  async #deliver(chunk: Buffer | undefined): Promise<void> {
    const twin = this.#twin;
    assert(twin, 'both ends are made together');
    if (twin.destroyed) return;
    const hasRoom = twin.push(chunk ?? null);
    if (!hasRoom && chunk && !twin.destroyed) {
      await new Promise<void>((resolve) => (this.#resumePump = resolve));
    }
    this.#underWayBytes -= chunk?.length ?? 0;
    const resume = this.#resumeWriter;
    if (!resume || this.#underWayBytes >= UNDER_WAY_BYTES_MAX) return;
    this.#resumeWriter = undefined;
    resume();
  }

  override _read(): void {
    this.#twin?.goOn();
  }

  goOn(): void {
    const resume = this.#resumePump;
    this.#resumePump = undefined;
    resume?.();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.goOn();
    this.#twin?.goOn();
    done(error);
    // The other end hears of it as it would of a closed socket.
    const twin = this.#twin;
    if (twin && !twin.destroyed) {
      void this.#net.passage(this.self, this.#remote).then(() => twin.destroy());
    }
  }
}
