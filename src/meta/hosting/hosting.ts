/**
 * The cells of the cluster as one node has them: those that it carries, and the way to all others.
 * What it gives out, a {@link Namespace} or the {@link References}, goes to the stewards of the
 * cells concerned, here or elsewhere; who uses them cannot tell.
 *
 * A node that carries nothing only asks. Spaces without a record are one cell at the home node,
 * which opens it when it is asked for.
 */
import { errorCode, mapBounded, type NodeId, type VolumeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { callForBytes, type CellId, type Registry } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import type { Handles } from '../handles/handles.ts';
import type { Namespace } from '../namespace/namespace.ts';
import type { Tree } from '../namespace/tree.ts';
import type { References } from '../references/references.ts';
import { checked, whole } from '../remote/cell-methods.ts';
import { decodeValue, encodeValue } from '../remote/wire-value.ts';
import { type VolumeDoors, volumeDoors } from '../volume-cell/volume-tables.ts';
import type { CarriedCellOptions, Carrying } from './carried-cell.ts';
import { Carrier } from './carrier.ts';
import { CellClient } from './cell-client.ts';
import { type CellPlace, placeOfCell, placeOfSlot, type VersionedMap } from './cell-map.ts';
import { CellMaps } from './cell-maps.ts';
import { type CellStanding, cellStanding, type CellWhere } from './cell-where.ts';
import {
  HOSTED_TABLES,
  type HostedName,
  REFERENCES_SPACE,
  spaceOfVolume,
} from './hosted-tables.ts';
import { type CellName, HOSTING_SERVICE } from './hosting-wire.ts';
import { newSession } from './kept-answers.ts';
import { Lanes } from './lanes.ts';
import { LocalCells } from './local-cells.ts';
import { routedApi } from './routed.ts';
import { openSession } from './session-fences.ts';
import { SpaceClient } from './space-client.ts';
import { StaleCells } from './stale-cells.ts';

export interface HostingOptions {
  readonly env: Env;
  readonly self: NodeId;
  /** Stays the caller's. */
  readonly registry: Registry;
  readonly network: Pick<Network, 'call' | 'open' | 'links' | 'members'>;
  /** Who carries spaces without a record, as of the call. */
  readonly home: () => NodeId | undefined;
  /** What a node needs to carry cells; without it this one only asks others. */
  readonly carrying?: Carrying | undefined;
  /** For tests, which prove that they would notice. */
  readonly faults?: CarriedCellOptions['faults'];
}

/** How long a view waits for a steward. */
const VIEW_MS = 2000;
const VIEWS_AT_ONCE = 16;
/** A node that takes over replays what it lacks; one that is to sync may have to read it all. */
const TAKE_MS = 3000;
const SYNC_MS = 10_000;

/** What a method table's client has besides its operations. */
type Raised = References & { raiseFence(node: string, fence: number): Promise<number> };

export class Hosting implements AsyncDisposable {
  readonly references: References;
  /** Of all spaces, as this node knows them. */
  readonly maps: CellMaps;
  /** Answers other nodes: `serveHosting`. */
  readonly local: LocalCells;
  readonly carrier: Carrier | undefined;
  /** Reads that need neither registry nor logs. */
  readonly stale: StaleCells;
  readonly #options: HostingOptions;
  readonly #client: CellClient;
  readonly #spaces = new Map<string, SpaceClient>();
  readonly #session: string;

  private constructor(options: HostingOptions) {
    this.#options = options;
    this.#session = newSession(options.self, options.env);
    this.maps = new CellMaps(options);
    this.#client = new CellClient({
      ...options,
      maps: this.maps,
      isCut: () => this.carrier?.isCut ?? false,
      cutReason: () => this.carrier?.cutReason,
    });
    const { carrying } = options;
    this.carrier =
      carrying &&
      new Carrier({
        ...options,
        carrying,
        maps: this.maps,
        peersOf: ({ space, cell }) => this.#space(space).peersOf(cell),
        recall: (space, of) => this.api<Handles>('handles', space).recallDirectory(of),
        tellToTake: (node, of) => this.#tellToTake(node, of),
      });
    const { maps, carrier } = this;
    const { self, env } = options;
    const { clock } = env;
    this.local = new LocalCells({ self, clock, maps, client: this.#client, carrier });
    this.stale = new StaleCells({ ...options, maps, client: this.#client, carrier });
    this.references = this.#openReferences();
  }

  static async open(options: HostingOptions): Promise<Hosting> {
    return new Hosting(options);
  }

  namespace(volume: VolumeId): Namespace {
    return this.api<Namespace>('namespace', spaceOfVolume(volume));
  }

  tree(volume: VolumeId): Tree {
    return this.api<Tree>('tree', spaceOfVolume(volume));
  }

  /** As {@link namespace}, for reads alone, which may show what was so a while ago. */
  staleNamespace(volume: VolumeId): Namespace {
    return this.stale.api<Namespace>('namespace', spaceOfVolume(volume));
  }

  /** As {@link tree}, for reads alone, which may show what was so a while ago. */
  staleTree(volume: VolumeId): Tree {
    return this.stale.api<Tree>('tree', spaceOfVolume(volume));
  }

  volume(volume: VolumeId): VolumeDoors {
    return volumeDoors((name) => this.api<object>(name, spaceOfVolume(volume)));
  }

  /** The interface of a method table, over a space that it is for. */
  api<Api>(name: HostedName, space: string): Api {
    return routedApi<Api>(HOSTED_TABLES[name].methods, this.#space(space).routed(name));
  }

  /** Carries cells as the registry pins them, until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.carrier?.run({ signal });
  }

  /** The cell of a slot, and how it stands. */
  async where(space: string, slot: number): Promise<CellWhere> {
    const map = await this.maps.read(space);
    return await this.#where(map, placeOfSlot(map, slot));
  }

  /** All cells of the spaces that have records. */
  async cells(): Promise<CellWhere[]> {
    await this.maps.refreshAll();
    const all = this.maps.all().flatMap((map) => map.cells.map((place) => ({ map, place })));
    return await mapBounded(all, VIEWS_AT_ONCE, ({ map, place }) => this.#where(map, place));
  }

  /**
   * Lets a node follow a cell that may come to it.
   * @returns how far its rows have come. Errors as of `Network.call`.
   */
  async syncAt(node: NodeId, { space, cell }: CellName): Promise<number> {
    if (node === this.#options.self) return await this.local.sync({ space, cell });
    const answer = await this.#call(node, 'sync', { arg: { space, cell }, deadlineMs: SYNC_MS });
    return checked(whole, answer);
  }

  /** What the steward of a cell says of it; `undefined` when none answers. */
  async standing(space: string, cell: CellId): Promise<CellStanding | undefined> {
    const { local } = this;
    try {
      const { value } = await this.#client.ask({
        space,
        isChange: false,
        deadlineMs: VIEW_MS,
        placeOf: (map) => placeOfCell(map, cell) ?? (map.cells[0] as CellPlace),
        here: (place) => local.view({ space, cell: place.cell }),
        there: (place) => ({ method: 'view', arg: encodeValue({ space, cell: place.cell }) }),
        understand: (answer) => checked(cellStanding, answer),
      });
      return value as CellStanding;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return undefined;
    }
  }

  /** Hands nothing over: who closes a node that others wait for aborts `run` first. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.carrier?.[Symbol.asyncDispose]();
  }

  #space(space: string): SpaceClient {
    let client = this.#spaces.get(space);
    if (client) return client;
    const { maps, local } = this;
    const lanes = new Lanes(this.#session, this.#options.env.clock);
    client = new SpaceClient({ space, maps, client: this.#client, local, lanes });
    this.#spaces.set(space, client);
    return client;
  }

  #openReferences(): References {
    const { registry } = this.#options;
    const references = this.api<Raised>('references', REFERENCES_SPACE);
    const openOf = (node: string) =>
      openSession(registry, node, (fence) => references.raiseFence(node, fence));
    return { ...references, openSession: openOf };
  }

  async #where({ space, move }: VersionedMap, { cell, slots, members }: CellPlace) {
    const isSource = move?.source === cell;
    const outgoing = isSource ? { ...move.slots, target: move.target } : undefined;
    const standing = await this.standing(space, cell);
    return { space, cell, slots, members, outgoing, standing };
  }

  async #tellToTake(node: NodeId, { space, cell }: CellName): Promise<boolean> {
    const request = { arg: { space, cell }, deadlineMs: TAKE_MS };
    const isTaken = (await this.#call(node, 'take', request)) === true;
    if (isTaken) this.#client.believe(cell, node);
    return isTaken;
  }

  async #call(
    node: NodeId,
    method: string,
    { arg, deadlineMs }: { arg: object; deadlineMs: number },
  ): Promise<unknown> {
    const call = {
      node,
      method: `${HOSTING_SERVICE}/${method}`,
      arg: encodeValue(arg),
      deadlineMs,
    };
    return decodeValue(await callForBytes(this.#options.network, call));
  }
}
