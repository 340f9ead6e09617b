/**
 * What a node answers other nodes, from the first moment of its network on: each node for its
 * stores, whether its core is open or not; who has metadata for that, and the home for repair,
 * while its core is open.
 */
import {
  type ChunkId,
  chunkIdParts,
  type DeviceId,
  GROUP_COUNT,
  HoldfastError,
  isPoolMetadataScheme,
  METADATA_SCHEME_NUMBER,
  type NodeId,
  UnderWay,
} from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { serveRegistry } from '../../log/index.ts';
import { serveHosting, serveReferences, serveVolumes } from '../../meta/index.ts';
import type { Network } from '../../net/index.ts';
import {
  type Repair,
  type ServedRepair,
  serveRepair,
  serveWholeEpochs,
  WholeEpochs,
} from '../../repair/index.ts';
import { type ChunkStore, serveStores } from '../../store/index.ts';
import { answeringWithin } from './answering.ts';
import type { ClientWork } from './client-work.ts';
import { CurrentRegistry } from '../metadata/current-registry.ts';
import type { ServedMetadata } from '../metadata/metadata.ts';
import type { ServedCells } from '../metadata/ring-metadata.ts';
import type { Rights } from './rights.ts';

/** Methods by which others put chunks into stores here. */
const PUTS = ['store/put', 'store/put-stream'];

export interface ServingOptions {
  readonly env: Env;
  readonly network: Pick<Network, 'handle'>;
  /** The stores of this node that are alive, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  /** The steward of all groups: deletes are taken from it alone (rulings 3, 13). */
  readonly home: () => NodeId | undefined;
  /** Whether a node has the metadata role: it puts parts of snapshots, and lets go of them. */
  readonly isMetadataNode?: ((node: NodeId) => boolean) | undefined;
  /** Where content that others put and get here is counted. */
  readonly work?: ClientWork | undefined;
}

/** What a node with metadata serves besides its stores; as home its repair as well. */
export interface MetadataParts {
  readonly self: NodeId;
  readonly metadata: ServedMetadata;
  readonly repair: Repair;
  readonly rights: Rights;
}

/** Made once for each network. */
export class Serving {
  /** What the stores of this node go by when a put is of an older layout. */
  readonly wholeEpochs: WholeEpochs = new WholeEpochs();
  readonly #options: ServingOptions;
  readonly #puts = new UnderWay();
  readonly #repair: ServedRepair;
  /** The home that was heard last. */
  #followed: NodeId | undefined;
  #parts: MetadataParts | undefined;
  #cells: ServedCells | undefined;

  /** Registers its methods. */
  constructor(options: ServingOptions) {
    this.#options = options;
    const { env, network, stores, work } = options;
    const { clock } = env;
    const isSteward = (from: NodeId): boolean => from === this.#followHome();
    const isMetadataNode = (from: NodeId): boolean => options.isMetadataNode?.(from) ?? false;
    const oldestEpoch = (_: DeviceId, group: number): number => {
      this.#followHome();
      return this.wholeEpochs.oldest(group);
    };
    const counted = work?.counting(network) ?? network;
    const noted = answeringWithin(counted, PUTS, (put) => this.#puts.run(put));
    serveStores(noted, stores, {
      clock,
      // A record that another puts would be read as one of this node's own log.
      mayPut: (from, id) => {
        const { schemeNumber } = chunkIdParts(id);
        return isPart(id) ? isMetadataNode(from) : schemeNumber !== METADATA_SCHEME_NUMBER;
      },
      mayRemove: (from, id) => (isPart(id) ? isMetadataNode(from) : isSteward(from)),
      oldestEpoch,
    });
    serveWholeEpochs(network, this.wholeEpochs, { maySay: isSteward });

    const isMember = (from: NodeId): boolean => this.#need().rights.isMember(from);
    const holds = (from: NodeId, volume: string): boolean =>
      this.#need().rights.holds(from, volume);
    serveRegistry(network, new CurrentRegistry(() => this.#answering?.metadata.registry), {
      mayRead: isMember,
      mayChange: (from, change) => this.#need().rights.mayChange(from, change),
    });
    serveVolumes(network, {
      volumeOf: (volume) => this.#answering?.metadata.volumeOf(volume),
      mayServe: holds,
    });
    serveReferences(network, {
      references: () => this.#answering?.metadata.references,
      mayAsk: (from, method, args) => this.#need().rights.mayAskReferences(from, method, args),
    });
    serveHosting(network, {
      hosting: () => this.#cells?.hosting,
      mayAsk: (from, request) => this.#needCells().rights.mayAskCell(from, request),
      mayCarry: (from) => this.#needCells().rights.isMetadataNode(from),
    });
    this.#repair = serveRepair(network, () => this.#home?.repair, {
      clock,
      mayAsk: (from, volume) => (volume === undefined ? isMember(from) : holds(from, volume)),
    });
  }

  /**
   * From now on the stores of this node refuse what was placed by a layout before `epoch`.
   * Resolves when the puts that they had let pass have ended.
   */
  async refusePutsBefore(epoch: number): Promise<void> {
    this.wholeEpochs.raise(Array(GROUP_COUNT).keys(), epoch);
    await this.#puts.settled();
  }

  /**
   * From now on, until the result is disposed, this node serves this metadata, and as home its
   * repair. Then repair that others have asked for is cut short.
   */
  serveMetadata(parts: MetadataParts): AsyncDisposable {
    this.#parts = parts;
    return {
      [Symbol.asyncDispose]: async () => {
        if (this.#parts === parts) this.#parts = undefined;
        await this.#repair.endRuns();
      },
    };
  }

  /** From now on, until the result is disposed, this node answers for the cells that it carries. */
  serveCells(cells: ServedCells): Disposable {
    this.#cells = cells;
    return {
      [Symbol.dispose]: () => {
        if (this.#cells === cells) this.#cells = undefined;
      },
    };
  }

  /** @throws HF_UNAVAILABLE. */
  #needCells(): ServedCells {
    if (this.#cells) return this.#cells;
    throw new HoldfastError('HF_UNAVAILABLE', 'this node carries no cells now');
  }

  /** After a recovery that accepted losses, the home counts epochs anew from an earlier one. */
  #followHome(): NodeId | undefined {
    const home = this.#options.home();
    if (home === undefined || home === this.#followed) return home;
    if (this.#followed !== undefined) this.wholeEpochs.forget();
    return (this.#followed = home);
  }

  /** Nothing any more from the moment that another node is known to be home. */
  get #home(): MetadataParts | undefined {
    return this.#parts?.self === this.#options.home() ? this.#parts : undefined;
  }

  /** Where there is one log, only the home answers from it. */
  get #answering(): MetadataParts | undefined {
    return this.#parts?.metadata.isHomes ? this.#home : this.#parts;
  }

  /** @throws HF_UNAVAILABLE. */
  #need(): MetadataParts {
    const answering = this.#answering;
    if (answering?.metadata.isMoving?.()) {
      throw new HoldfastError('HF_MOVED', 'the metadata moves just now; ask again');
    }
    if (answering) return answering;
    throw new HoldfastError('HF_UNAVAILABLE', 'this node does not serve the metadata now');
  }
}

function isPart(id: ChunkId): boolean {
  return isPoolMetadataScheme(chunkIdParts(id).schemeNumber);
}
