/**
 * Finds nodes on the local network: announces this one every LIMITS.beaconMs or so, and meets those
 * that announce themselves and are not known yet. Refused beacons are counted, not answered.
 */
import { errorMessage, LIMITS, type NodeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { NetAddress } from './address.ts';
import { type Beacon, BeaconSeal } from './beacon.ts';
import { BeaconSocket } from './beacon-socket.ts';

export interface BeaconOptions {
  /** 32 bytes that the nodes of the cluster share. */
  readonly key: Uint8Array;
  readonly port?: number | undefined;
  /** IPv4 addresses of the interfaces to use; all when left out. */
  readonly interfaces?: (() => readonly string[]) | undefined;
}

export interface BeaconFinderParts extends BeaconOptions {
  readonly env: Env;
  readonly own: Beacon;
  isKnown(node: NodeId): boolean;
  /** Does not fail. */
  meet(address: NetAddress, node: NodeId): Promise<void>;
}

export class BeaconFinder implements AsyncDisposable {
  readonly #parts: BeaconFinderParts;
  readonly #seal: BeaconSeal;
  readonly #closing = new AbortController();
  readonly #meeting = new Map<NodeId, Promise<void>>();
  #socket: BeaconSocket | undefined;
  #loop: Promise<void> = Promise.resolve();

  private constructor(parts: BeaconFinderParts) {
    this.#parts = parts;
    this.#seal = new BeaconSeal(parts.env, parts.key);
  }

  /** Where multicast is not possible it says so in the log, and finds nobody. */
  static async open(parts: BeaconFinderParts): Promise<BeaconFinder> {
    const { env, port, interfaces } = parts;
    const finder = new BeaconFinder(parts);
    const onDatagram = (bytes: Uint8Array, host: string): void => finder.#hear(bytes, host);
    try {
      finder.#socket = await BeaconSocket.open({ env, port, interfaces, onDatagram });
      finder.#loop = finder.#announce(finder.#socket);
    } catch (error) {
      env.log.warn('no beacon on the local network', { why: errorMessage(error) });
    }
    return finder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all([this.#loop, ...this.#meeting.values()]); // bounded, see #hear
    await this.#socket?.[Symbol.asyncDispose]();
  }

  async #announce(socket: BeaconSocket): Promise<void> {
    const { env, own } = this.#parts;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await socket.send(this.#seal.make(own));
      const jitterMs = env.random.below(LIMITS.beaconMs / 2);
      await env.clock.sleep(0.75 * LIMITS.beaconMs + jitterMs, { signal }).catch(() => {});
    }
  }

  #hear(bytes: Uint8Array, host: string): void {
    const { env, own } = this.#parts;
    const beacon = this.#seal.take(bytes);
    if (typeof beacon === 'string') {
      env.metrics.add('net_beacons_refused', 1, { why: beacon });
      return;
    }
    const { node } = beacon;
    const isBusy = this.#meeting.has(node) || this.#meeting.size >= LIMITS.beaconDialsMax;
    if (node === own.node || this.#parts.isKnown(node) || isBusy || this.#closing.signal.aborted)
      return;
    const meeting = this.#meet(beacon, host).finally(() => this.#meeting.delete(node));
    this.#meeting.set(node, meeting);
  }

  async #meet({ node, addresses }: Beacon, host: string): Promise<void> {
    for (const address of addresses) {
      // A node that listens everywhere does not know by which of its addresses it is heard.
      const isAnywhere = address.host === '0.0.0.0' || address.host === '::';
      await this.#parts.meet(isAnywhere ? { ...address, host } : address, node);
      if (this.#parts.isKnown(node) || this.#closing.signal.aborted) return;
    }
  }
}
