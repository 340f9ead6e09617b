/**
 * Where the metadata of the cluster is and how it stands, for people: which nodes have a part in
 * it, the ring, the cells, and what the user should know or do about them.
 */
import {
  errorCode,
  errorMessage,
  HoldfastError,
  type NodeId,
  type VolumeId,
} from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import { type CellWhere, REFERENCES_SPACE, spaceOfVolume } from '../meta/index.ts';
import type { MetadataPlace } from './data-directory.ts';
import type { Heart } from './heart.ts';
import { MovingMetadata } from './metadata/moving-metadata.ts';
import { RingMetadata } from './metadata/ring-metadata.ts';
import { tellNode } from './peers/node-names.ts';
import type { Others } from './peers/others.ts';
import type { NamedEtcd } from './ring/named-etcd.ts';
import { namedWarnings } from './ring/named-look.ts';
import { ringAsks, type RingView, ringView } from './ring/ring-asks.ts';
import { RingCandidates, type RingNodeView } from './ring/ring-candidates.ts';
import type { RingRecord } from './ring/ring-record.ts';
import { restoreRing } from './ring/ring-restore.ts';
import { type RingOutlook, ringWarnings, SEATS_MIN } from './ring/ring-warnings.ts';
import { moveToNamed, readdressNamed } from './ring/use-etcd.ts';

export interface MetadataReport {
  readonly engine: MetadataPlace['engine'];
  readonly generation: number;
  /** Who repairs, collects and deletes now; `undefined` while nobody knows. */
  readonly home: NodeId | undefined;
  /** All nodes with the metadata role that are known here. */
  readonly nodes: readonly RingNodeView[];
  /** `undefined` while there is none, or on a node without the role. */
  readonly ring: RingView | undefined;
  /** None while one node carries all, or while the registry does not answer. */
  readonly cells: readonly CellWhere[];
  /** Why it is not where it shall be, or why the cells are not known, for people. */
  readonly note: string | undefined;
}

const UNWILLING_CARRIER =
  'names are kept by this node alone, which was told to have none: they can move to a ring of ' +
  'nodes only after: holdfast up --metadata';

const WAITING_TO_MOVE =
  'names move to your etcd as soon as all of it is well; or name another: holdfast meta use-etcd';

const JOINING = 'a node that has just joined gets its part in the metadata within some seconds';
const MOVING = 'a ring of nodes is being made, and names move to it by themselves';

export interface MetadataReporterOptions {
  readonly clock: Clock;
  readonly heart: Pick<Heart, 'core' | 'waitsFor'>;
  readonly others: Others;
  readonly clusterId: string;
}

/** How long it is waited for the metadata to move. */
const MOVE_MS = 30_000;
const MOVE_LOOK_MS = 100;

export class MetadataReporter {
  readonly #options: MetadataReporterOptions;
  #candidates: RingCandidates | undefined;

  constructor(options: MetadataReporterOptions) {
    this.#options = options;
  }

  /** What is known here, also while the ring does not answer. */
  async report(): Promise<MetadataReport> {
    const { others } = this.#options;
    const { engine, generation } = others.whereabouts;
    const [ring, { cells, why }] = await Promise.all([this.#ring(), this.#cells()]);
    return {
      engine,
      generation,
      home: others.home,
      nodes: others.metadataNode?.views() ?? [],
      ring,
      cells,
      note: why ?? (engine === 'local' ? await this.#whyLocal() : undefined),
    };
  }

  /** None, and why, while they cannot be asked for. */
  async #cells(): Promise<{ cells: readonly CellWhere[]; why: string | undefined }> {
    const { heart } = this.#options;
    const hosting = this.#hosting;
    const why = heart.waitsFor ?? hosting?.carrier?.cutReason;
    if (!hosting || why !== undefined) return { cells: [], why };
    try {
      return { cells: await hosting.cells(), why: undefined };
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return { cells: [], why: errorMessage(error) };
    }
  }

  /** Why one node still carries everything. */
  async #whyLocal(): Promise<string | undefined> {
    const { others, heart } = this.#options;
    const { metadataNode: node, part } = others;
    const nodeCount = node?.views().filter(({ isLeaving }) => !isLeaving).length ?? 0;
    const alive = part?.network.members().filter(({ health }) => health === 'alive') ?? [];
    const aliveCount = new Set([part?.network.self, ...alive.map((member) => member.node)]).size;
    const isJoining = nodeCount < SEATS_MIN && aliveCount >= SEATS_MIN;
    const lines = [...(await this.warnings()), ...(isJoining ? [JOINING] : [])];
    if (lines.length > 0) return lines.join('; ');
    if (!node?.ring || nodeCount < SEATS_MIN) return undefined;
    const metadata = heart.core?.metadata;
    const reason = metadata instanceof MovingMetadata ? metadata.staysFor : undefined;
    return reason === undefined ? MOVING : `${MOVING}; not yet: ${reason}`;
  }

  /**
   * The cell that has a slot of a volume, or of the references, and how it stands.
   * @returns `undefined` while one node carries all. @throws HF_UNAVAILABLE.
   */
  async where(volume: VolumeId | undefined, slot: number): Promise<CellWhere | undefined> {
    const space = volume === undefined ? REFERENCES_SPACE : spaceOfVolume(volume);
    return await this.#hosting?.where(space, slot);
  }

  /** What the user should know or do, one line each. */
  async warnings(): Promise<string[]> {
    const { others, clock } = this.#options;
    const { part, metadataNode: node } = others;
    const ring = node?.ring;
    if (!part || !node) return [];
    if (!ring) return others.isCarrier && !others.config.metadata ? [UNWILLING_CARRIER] : [];
    if (ring.record?.named) return await this.#namedWarnings();
    const { network } = part;
    const asks = ringAsks(ring, network);
    this.#candidates ??= new RingCandidates({ clock, asks, nodes: () => node.views() });
    const views = node.views().filter(({ isLeaving }) => !isLeaving);
    const view = others.whereabouts.engine === 'etcd' ? await this.#ring() : undefined;
    const outlook: RingOutlook = {
      record: view?.record,
      candidates: await this.#candidates.all(),
      nodeCount: views.length,
      statuses: view?.statuses ?? new Map(),
      nameOf: (id) => (id === network.self ? others.config.name : tellNode(id, network.members())),
    };
    return ringWarnings(outlook);
  }

  async #namedWarnings(): Promise<string[]> {
    const lines = namedWarnings((await this.#ring())?.named ?? []);
    const isThere = this.#options.others.whereabouts.engine === 'etcd';
    return isThere || lines.length === 0 ? lines : [...lines, WAITING_TO_MOVE];
  }

  /**
   * When most of the ring is lost for good: makes a new one from what this node has of it. What
   * only the lost nodes had confirmed, the last moments before they went, is gone. Nodes that ran
   * meanwhile are to be started anew: they may have seen what is gone.
   * @throws as restoreRing; HF_UNSUPPORTED on a node that has no part in one.
   */
  async restoreRing(): Promise<RingRecord> {
    const { part, metadataNode } = this.#options.others;
    const ring = metadataNode?.ring;
    if (part && ring) return await restoreRing(ring, part.network);
    throw new HoldfastError('HF_UNSUPPORTED', 'this node has no part in the ring');
  }

  /**
   * Has the metadata lie in an etcd that the user runs, or says where that is now.
   * @returns whether it is there.
   * @throws as moveToNamed and readdressNamed; HF_UNSUPPORTED on a node that is not to be asked.
   */
  async useEtcd(named: NamedEtcd): Promise<boolean> {
    const { others, heart, clusterId, clock } = this.#options;
    const { whereabouts } = others;
    const isLocal = whereabouts.engine === 'local';
    if (isLocal && !whereabouts.isCarrier) throw unsupported('names are kept by the home: ask it');
    await others.listen(); // a node with a ring is one of many, if only of one
    const node = others.metadataNode;
    const part = node?.ring;
    if (!part) throw unsupported('this node keeps no metadata: ask another, or: up --metadata');
    const options = { part, clusterId, others: node.others() };
    if (!isLocal && part.record?.named) {
      await readdressNamed(named, part.record, options);
      return true;
    }
    const registry = heart.core?.registry;
    if (!registry) throw new HoldfastError('HF_UNAVAILABLE', 'this node waits');
    const generation = whereabouts.generation + 1;
    await moveToNamed(named, { ...options, registry, generation });
    const untilMs = clock.monotonic() + MOVE_MS;
    const isThere = (): boolean => whereabouts.generation >= generation;
    while (!isThere() && clock.monotonic() < untilMs) await clock.sleep(MOVE_LOOK_MS);
    return isThere();
  }

  async #ring(): Promise<RingView | undefined> {
    const { part, metadataNode } = this.#options.others;
    const ring = metadataNode?.ring;
    return ring && part && (await ringView(ring, part.network));
  }

  get #hosting(): RingMetadata['hosting'] | undefined {
    const now = this.#options.heart.core?.metadata;
    const inside = now && 'now' in now ? now.now : now;
    return inside instanceof RingMetadata ? inside.hosting : undefined;
  }
}

function unsupported(message: string): HoldfastError {
  return new HoldfastError('HF_UNSUPPORTED', message);
}
