/**
 * The network between simulated machines: a {@link MemoryNet} in which each direction between two
 * machines can be cut or slow by itself, and a machine can die with a word or without one.
 *
 * What a dead machine has begun must not go on: its ends of connections are made deaf, so nothing
 * wakes it any more. Others see a connection that breaks when its process was killed, and silence
 * when its power was cut; then the connections break when it is back.
 */
import type { NodeId } from '../src/base/index.ts';
import { type Listener, MemoryNet, type SecureDuplex, type Transport } from '../src/net/index.ts';
import type { Process } from './sim-env.ts';

/** What a Mux and its parts listen for. */
const HEARD = ['data', 'end', 'close', 'error', 'drain'] as const;

/** The network as one life of a machine has it. */
export interface LifeLine {
  readonly transport: Transport;
  /** Its process is dead. */
  die(): void;
}

export class SimNet extends MemoryNet {
  #isCut: (from: NodeId, to: NodeId) => boolean = () => false;
  #changed = Promise.withResolvers<void>();
  readonly #slowMs = new Map<string, number>();

  /** Bytes from one node to the other wait while `isCut` holds, until the next call. */
  cutWhere(isCut: (from: NodeId, to: NodeId) => boolean): void {
    this.#isCut = isCut;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Each piece from one node to the other takes so much longer. */
  setSlow(from: NodeId, to: NodeId, ms: number): void {
    this.#slowMs.set(`${from} ${to}`, ms);
  }

  override async passage(from: NodeId, to: NodeId): Promise<void> {
    const slowMs = this.#slowMs.get(`${from} ${to}`) ?? 0;
    if (slowMs > 0) await this.env.clock.sleep(slowMs);
    while (this.#isCut(from, to)) await this.#changed.promise;
  }

  lifeLine(node: NodeId, process: Process): LifeLine {
    const inner = this.transport(node);
    const connections = new Set<SecureDuplex>();
    const listeners = new Set<Listener>();
    const tracked = (connection: SecureDuplex): SecureDuplex => {
      connections.add(connection);
      connection.duplex.once('close', () => connections.delete(connection));
      return connection;
    };
    return {
      transport: {
        scheme: inner.scheme,
        async listen(address, onPeer) {
          const listener = await inner.listen(address, (peer) => {
            if (process.isDead) peer.duplex.on('error', () => {}).destroy();
            else onPeer(tracked(peer));
          });
          listeners.add(listener);
          return listener;
        },
        async dial(address, options) {
          const connection = await inner.dial(address, options);
          if (!process.isDead) return tracked(connection);
          connection.duplex.on('error', () => {}).destroy();
          return await new Promise<never>(() => {});
        },
      },
      die() {
        for (const { duplex } of connections) {
          for (const event of HEARD) duplex.removeAllListeners(event);
          duplex.on('error', () => {});
        }
        for (const listener of listeners) void listener[Symbol.asyncDispose]();
      },
    };
  }
}
