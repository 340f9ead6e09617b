/**
 * The cells that this node carries, and what it does about them by itself: it follows those that
 * the cell maps pin here, becomes their steward when it is its turn, hands over to who goes before
 * it, moves slots as the maps order, and lets go of what is not pinned here any more.
 *
 * Nothing here waits for a whole round: what takes long is under way for one cell at a time.
 */
import { errorCode, errorMessage, mapBounded, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellId } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import type { CellPeers } from '../cells/cell-peers.ts';
import { CarriedCell, type CarriedCellOptions, type Carrying } from './carried-cell.ts';
import {
  type CellPlace,
  placeOfCell,
  slotCount,
  type VersionedMap,
  withMoved,
} from './cell-map.ts';
import type { CellMaps } from './cell-maps.ts';
import { spaceOfCell } from './hosted-tables.ts';
import type { CellName } from './hosting-wire.ts';
import { type CarriedState, Pings } from './pings.ts';
import { type Decision, decide, type Sight } from './stewardship-rules.ts';

const TICK_MS = 200;
/** How often the cell maps are read although nothing points to a change. */
const REFRESH_MS = 1000;
/** A cell that could not be taken over is left to others for so long. */
const UNABLE_MS = 3000;
/** Cells that a node hands over at once when it stops. */
const HANDED_OVER_AT_ONCE = 32;
/** A cell that was opened to be synced is kept so long without a record that names this node. */
const SYNCED_MS = 60_000;

export interface CarrierOptions {
  readonly env: Env;
  readonly self: NodeId;
  readonly network: Pick<Network, 'call' | 'open' | 'members'>;
  readonly maps: CellMaps;
  readonly home: () => NodeId | undefined;
  readonly carrying: Carrying;
  readonly peersOf: (of: CellName) => CellPeers;
  /** Tells a node that it is its turn now. @returns whether it is the steward then. */
  readonly tellToTake: (node: NodeId, of: CellName) => Promise<boolean>;
  readonly faults?: CarriedCellOptions['faults'];
}

export class Carrier implements AsyncDisposable {
  readonly pings: Pings;
  readonly #options: CarrierOptions;
  readonly #cells = new Map<CellId, CarriedCell>();
  /** Cells with something under way. */
  readonly #busy = new Map<CellId, Promise<unknown>>();
  /** Cells on their way in, and since when. */
  readonly #syncedAtMs = new Map<CellId, number>();
  #refreshedAtMs = -Infinity;
  #refreshing: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: CarrierOptions) {
    this.#options = options;
    this.pings = new Pings(options);
  }

  get(cell: CellId): CarriedCell | undefined {
    return this.#cells.get(cell);
  }

  /** What others are told. */
  states(): CarriedState[] {
    if (this.#isClosed) return [];
    return [...this.#cells.values()].map((carried) => ({
      cell: carried.cell,
      role: carried.steward ? 'steward' : carried.isAble(UNABLE_MS) ? 'replica' : 'unable',
      epoch: carried.epoch,
      lsn: carried.lsn,
    }));
  }

  /** Until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#tick();
    for await (const _ of this.#options.env.clock.every(TICK_MS, { signal })) this.#tick();
    await Promise.allSettled([this.#refreshing, ...this.#busy.values()]);
  }

  /** The cell, opened as its steward, when the map says that it is nobody else's. */
  async openAlone(map: VersionedMap, cell: CellId): Promise<CarriedCell | undefined> {
    const { self } = this.#options;
    const place = placeOfCell(map, cell);
    const isAlone = place?.members.length === 1 && place.members[0] === self;
    if (!isAlone || this.#isClosed) return undefined;
    const carried = this.#carry(map.space, cell);
    await carried.takeOver();
    return carried;
  }

  /** Follows a cell that may come here; how far it has come. */
  async sync(space: string, cell: CellId): Promise<number> {
    const carried = this.#carry(space, cell);
    this.#syncedAtMs.set(cell, this.#now());
    await carried.caughtUp();
    return carried.lsn;
  }

  /** Those that wait for this node's cells are told that it is their turn. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled([this.#refreshing, ...this.#busy.values()]);
    await mapBounded(this.#cells.values(), HANDED_OVER_AT_ONCE, async (carried) => {
      for (const next of this.#successors(carried)) {
        if (await this.#handOver(carried, next).catch(coded)) break;
      }
      await carried[Symbol.asyncDispose]();
    });
  }

  /** Other members of a cell that this node is steward of, those first that were heard. */
  #successors({ space, cell, steward }: CarriedCell): NodeId[] {
    const { maps, self } = this.#options;
    const members = steward ? (maps.find({ space, cell })?.place.members ?? []) : [];
    const isHeard = (node: NodeId): boolean => this.pings.sight(node, cell).state === 'replica';
    const others = members.filter((node) => node !== self);
    return others.toSorted((a, b) => Number(isHeard(b)) - Number(isHeard(a)));
  }

  /** The cell, opened as its steward: whoever was it says that it is this node's turn. */
  async take({ space, cell }: CellName): Promise<void> {
    if (!this.#isClosed) await this.#carry(space, cell).takeOver();
  }

  async #handOver(carried: CarriedCell, to: NodeId): Promise<boolean> {
    const { env, tellToTake } = this.#options;
    env.log.info('handing a cell over', { cell: carried.cell, to });
    await carried.handOver();
    return await tellToTake(to, carried);
  }

  #carry(space: string, cell: CellId): CarriedCell {
    let carried = this.#cells.get(cell);
    if (carried) return carried;
    const { env, carrying, peersOf, faults } = this.#options;
    carried = new CarriedCell({
      env,
      space,
      cell,
      carrying,
      peers: peersOf({ space, cell }),
      faults,
    });
    this.#cells.set(cell, carried);
    return carried;
  }

  /** Does not wait for anything. */
  #tick(): void {
    const { maps, self } = this.#options;
    if (!this.#refreshing && this.#now() - this.#refreshedAtMs >= REFRESH_MS) {
      this.#refreshing = this.#refresh().finally(() => (this.#refreshing = undefined));
    }
    for (const { space, cells } of maps.all()) {
      for (const { cell, members } of cells) if (members.includes(self)) this.#carry(space, cell);
    }
    this.pings.ask(this.#companions());
    for (const carried of this.#cells.values()) this.#look(carried);
  }

  /** While the registry does not answer, what is known of the maps holds. */
  async #refresh(): Promise<void> {
    const { env, maps } = this.#options;
    try {
      await maps.refreshAll();
      if (this.#refreshedAtMs === -Infinity) await this.#dropLeft();
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('the cell maps cannot be read', { reason: errorMessage(error) });
    }
    this.#refreshedAtMs = this.#now();
  }

  /** Databases of cells that came to other nodes while this one was not running. */
  async #dropLeft(): Promise<void> {
    const { maps, carrying } = this.#options;
    const { knownDbs, dropDb } = carrying;
    for (const cell of (await knownDbs?.()) ?? []) {
      const space = spaceOfCell(cell);
      const found = space === undefined ? undefined : maps.find({ space, cell });
      const isElsewhere = found && found.map.version > 0 && !this.#isMember(found.place);
      if (isElsewhere && !this.#cells.has(cell)) await dropDb?.(cell);
    }
  }

  #isMember({ members }: CellPlace): boolean {
    return members.includes(this.#options.self);
  }

  /** All nodes that may carry a cell which is carried here. */
  #companions(): Set<NodeId> {
    const { self, home, maps } = this.#options;
    const nodes = new Set<NodeId>();
    for (const carried of this.#cells.values()) {
      for (const node of maps.find(carried)?.place.members ?? []) nodes.add(node);
      for (const node of this.pings.stewards(carried.cell)) nodes.add(node);
    }
    const atHome = home(); // it may have carried them before there was a record
    if (atHome !== undefined && this.#cells.size > 0) nodes.add(atHome);
    nodes.delete(self);
    return nodes;
  }

  /** Begins what is to be done about a cell, if anything. */
  #look(carried: CarriedCell): void {
    const { cell } = carried;
    if (this.#busy.has(cell) || this.#isClosed) return;
    const work = this.#workFor(carried);
    if (!work) return;
    const { env } = this.#options;
    const working = work().catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
      env.log.warn('a cell was not seen to', { cell, reason: errorMessage(error) });
    });
    this.#busy.set(
      cell,
      working.finally(() => this.#busy.delete(cell)),
    );
  }

  #workFor(carried: CarriedCell): (() => Promise<unknown>) | undefined {
    const found = this.#options.maps.find(carried);
    if (!found) return this.#isSyncing(carried.cell) ? undefined : () => this.#drop(carried);
    const { map, place } = found;
    const isMember = this.#isMember(place);
    if (!isMember && !carried.steward) {
      return this.#isSyncing(carried.cell) ? undefined : () => this.#drop(carried);
    }
    if (isMember) this.#syncedAtMs.delete(carried.cell);
    const decision = this.#decide(carried, place);
    if (decision.act !== 'stay') return () => this.#act(carried, decision);
    if (carried.steward && map.move?.source === carried.cell) return () => this.#move(carried, map);
    this.#nudge(carried);
    return carried.steward ? undefined : () => carried.follow();
  }

  #isSyncing(cell: CellId): boolean {
    return this.#now() - (this.#syncedAtMs.get(cell) ?? -Infinity) < SYNCED_MS;
  }

  #decide(carried: CarriedCell, { cell, members }: CellPlace): Decision {
    const { self } = this.#options;
    const sights = new Map<NodeId, Sight>();
    for (const node of [...members, ...this.pings.stewards(cell)]) {
      if (node !== self) sights.set(node, this.pings.sight(node, cell));
    }
    const role = carried.steward ? 'steward' : 'replica';
    if (role === 'replica' && !carried.isAble(UNABLE_MS)) return { act: 'stay' };
    const { epoch, lsn, sinceMs } = carried;
    return decide({ self, members, sights, role, epoch, lsn, carriedMs: this.#now() - sinceMs });
  }

  async #act(carried: CarriedCell, decision: Decision): Promise<void> {
    const { env } = this.#options;
    const { cell } = carried;
    if (decision.act === 'take-over') {
      env.log.info('taking over a cell', { cell });
      await carried.takeOver();
    } else if (decision.act === 'look') {
      await carried.steward?.cell.execute(() => undefined);
    } else if (decision.act === 'hand-over') {
      await this.#handOver(carried, decision.to);
    }
  }

  /** Replicas need not look at the log by themselves. */
  #nudge(carried: CarriedCell): void {
    if (carried.steward) return;
    const steward = this.pings.steward(carried.cell);
    if (steward !== undefined) carried.nudge(this.pings.sight(steward, carried.cell).lsn);
  }

  /** Hands slots over as the map orders, and says in the map that it is done. */
  async #move(carried: CarriedCell, map: VersionedMap): Promise<void> {
    const { env, maps } = this.#options;
    const { move } = map;
    const steward = carried.steward?.cell;
    if (!move || !steward) return;
    env.log.info('moving slots', { cell: move.source, target: move.target, slots: move.slots });
    await steward.moveSlots({ slots: move.slots, target: move.target });
    const { slots } = steward.view();
    const isMoved = slots.to <= move.slots.from || slots.from >= move.slots.to;
    if (isMoved || slotCount(slots) === 0) await maps.replace(map, withMoved(map));
  }

  /** The record says that it is not carried here any more. */
  async #drop(carried: CarriedCell): Promise<void> {
    const map = await this.#options.maps.read(carried.space);
    const isRecorded = map.version > 0;
    if (placeOfCell(map, carried.cell)?.members.includes(this.#options.self)) return;
    await carried.close({ isDropped: isRecorded });
    this.#cells.delete(carried.cell);
    this.#syncedAtMs.delete(carried.cell);
  }

  #now(): number {
    return this.#options.env.clock.monotonic();
  }
}

/** What did not work is done by others, later. */
function coded(error: unknown): false {
  if (errorCode(error) === undefined) throw error;
  return false;
}
