/**
 * What a node answers other nodes, from the first moment of its network on: each node for its
 * stores, whether its core is open or not; the home for the metadata and repair as well, while its
 * core is open.
 */
import { type DeviceId, HoldfastError, type NodeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { serveRegistry } from '../log/index.ts';
import { serveNamespaces, serveReferences } from '../meta/index.ts';
import type { Network } from '../net/index.ts';
import { type Repair, serveRepair, serveWholeEpochs, WholeEpochs } from '../repair/index.ts';
import { type ChunkStore, serveStores } from '../store/index.ts';
import type { ClientWork } from './client-work.ts';
import { CurrentRegistry } from './current-registry.ts';
import type { LocalMetadata } from './local-metadata.ts';
import type { Rights } from './rights.ts';

export interface ServingOptions {
  readonly env: Env;
  readonly network: Pick<Network, 'handle'>;
  /** The stores of this node that are alive, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  /** The steward of all groups: deletes are taken from it alone (rulings 3, 13). */
  readonly home: () => NodeId | undefined;
  /** Where content that others put and get here is counted. */
  readonly work?: ClientWork | undefined;
}

/** What the home serves. */
export interface HomeParts {
  readonly self: NodeId;
  readonly metadata: LocalMetadata;
  readonly repair: Repair;
  readonly rights: Rights;
}

/** Made once for each network. */
export class Serving {
  /** What the stores of this node go by when a put is of an older layout. */
  readonly wholeEpochs: WholeEpochs = new WholeEpochs();
  readonly #options: ServingOptions;
  #parts: HomeParts | undefined;

  /** Registers its methods. */
  constructor(options: ServingOptions) {
    this.#options = options;
    const { env, network, stores, home, work } = options;
    const { clock } = env;
    const isSteward = (from: NodeId): boolean => from === home();
    const oldestEpoch = (_: DeviceId, group: number): number => this.wholeEpochs.oldest(group);
    const counted = work?.counting(network) ?? network;
    serveStores(counted, stores, { clock, mayRemove: isSteward, oldestEpoch });
    serveWholeEpochs(network, this.wholeEpochs, { maySay: isSteward });

    const isMember = (from: NodeId): boolean => this.#need().rights.isMember(from);
    const holds = (from: NodeId, volume: string): boolean =>
      this.#need().rights.holds(from, volume);
    serveRegistry(network, new CurrentRegistry(() => this.#home?.metadata.registry), {
      mayRead: isMember,
      mayChange: (from, key) => this.#need().rights.mayChange(from, key),
    });
    serveNamespaces(network, {
      namespaceOf: (volume) => this.#home?.metadata.namespaceOf(volume),
      mayServe: holds,
    });
    serveReferences(network, {
      references: () => this.#home?.metadata.references,
      mayAsk: (from, method, args) => this.#need().rights.mayAskReferences(from, method, args),
    });
    serveRepair(network, () => this.#home?.repair, {
      clock,
      mayAsk: (from, volume) => (volume === undefined ? isMember(from) : holds(from, volume)),
    });
  }

  /** From now on, until the result is disposed, this node serves as the home. */
  serveHome(parts: HomeParts): Disposable {
    this.#parts = parts;
    return {
      [Symbol.dispose]: () => {
        if (this.#parts === parts) this.#parts = undefined;
      },
    };
  }

  /** Nothing any more from the moment that another node is known to be home. */
  get #home(): HomeParts | undefined {
    return this.#parts?.self === this.#options.home() ? this.#parts : undefined;
  }

  /** @throws HF_UNAVAILABLE. */
  #need(): HomeParts {
    if (this.#home) return this.#home;
    throw new HoldfastError('HF_UNAVAILABLE', 'this node does not serve the metadata now');
  }
}
