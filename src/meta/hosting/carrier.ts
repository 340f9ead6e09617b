/**
 * The cells that this node carries, and what it does about them by itself: it follows those that
 * the cell maps pin here, becomes their steward when it is its turn, hands over to who goes before
 * it, moves slots as the maps order, and lets go of what is not pinned here any more.
 *
 * Nothing here waits for a whole round: what takes long is under way for one cell at a time.
 */
import {
  errorCode,
  errorMessage,
  mapBounded,
  type NodeId,
  Semaphore,
  unlessBug,
} from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellId } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import type { CellPeers } from '../cells/cell-peers.ts';
import type { Inode } from '../namespace/namespace.ts';
import { CarriedCell, type CarriedCellOptions, type Carrying } from './carried-cell.ts';
import {
  type CellPlace,
  placeOfCell,
  slotCount,
  type VersionedMap,
  withMoved,
} from './cell-map.ts';
import type { CellMaps } from './cell-maps.ts';
import type { Follower } from './cell-where.ts';
import { spaceOfCell } from './hosted-tables.ts';
import type { CellName } from './hosting-wire.ts';
import { MapWatch } from './map-watch.ts';
import type { CarriedState } from './ping-wire.ts';
import { Pings } from './pings.ts';
import { type Decision, decide, type Sight } from './stewardship-rules.ts';
import { ToldStates } from './told-states.ts';

const TICK_MS = 200;
/** Cells that are opened, taken over or handed over at once: a node may carry thousands. */
const WORK_AT_ONCE = 32;
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
  /** Asks for a leased directory, wherever in the space it is. */
  readonly recall: (space: string, directory: Inode) => Promise<void>;
  /** Tells a node that it is its turn now. @returns whether it is the steward then. */
  readonly tellToTake: (node: NodeId, of: CellName) => Promise<boolean>;
  readonly faults?: CarriedCellOptions['faults'];
}

export class Carrier implements AsyncDisposable {
  readonly pings: Pings;
  /** What others are told. */
  readonly told: ToldStates;
  readonly #options: CarrierOptions;
  readonly #cells = new Map<CellId, CarriedCell>();
  /** Cells with something under way. */
  readonly #busy = new Map<CellId, Promise<unknown>>();
  /** Cells on their way in, and since when. */
  readonly #syncedAtMs = new Map<CellId, number>();
  readonly #watch: MapWatch;
  readonly #working = new Semaphore(WORK_AT_ONCE);
  /** By the cell that gives slots: others may be away for long, and nothing else waits for it. */
  readonly #moves = new Map<CellId, Promise<unknown>>();
  /** Of databases that earlier runs left; begins with the first maps. */
  #sweeping: Promise<unknown> | undefined;
  #isClosed = false;

  constructor(options: CarrierOptions) {
    this.#options = options;
    this.pings = new Pings(options);
    this.#watch = new MapWatch(options);
    this.told = new ToldStates({
      env: options.env,
      states: () => this.states(),
      isCut: () => this.#watch.isCut,
    });
  }

  /** Whether this node does not reach registry and log. */
  get isCut(): boolean {
    return this.#watch.isCut;
  }

  /** Why it is, for people; `undefined` while that is not known. */
  get cutReason(): string | undefined {
    return this.#watch.cutReason;
  }

  get(cell: CellId): CarriedCell | undefined {
    return this.#cells.get(cell);
  }

  /** Of the cells that are open here. */
  states(): CarriedState[] {
    if (this.#isClosed) return [];
    return [...this.#cells.values()].flatMap(({ state }) => state ?? []);
  }

  /** How far the rows of other members of a cell have come, of those that were heard. */
  followers(of: CellName): Follower[] {
    const others = this.#options.maps.find(of)?.place.members ?? [];
    return others.flatMap((node) => {
      const { state, lsn } = this.pings.sight(node, of.cell);
      return state === 'replica' ? [{ node, lsn }] : [];
    });
  }

  /** Until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#tick();
    for await (const _ of this.#options.env.clock.every(TICK_MS, { signal })) this.#tick();
    await this.#settled();
  }

  async #settled(): Promise<void> {
    await Promise.allSettled([this.#watch.settled(), this.#sweeping, ...this.#busy.values()]);
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
    const { isCut } = this.#watch;
    await this.#settled();
    await mapBounded(this.#cells.values(), WORK_AT_ONCE, async (carried) => {
      for (const next of isCut ? [] : this.#successors(carried)) {
        if (await this.#handOver(carried, next).catch(unlessBug)) break;
      }
      await carried[Symbol.asyncDispose]();
    });
    await Promise.allSettled(this.#moves.values()); // they end with their cells
  }

  /** Other members of a cell that this node is steward of, those first that were heard. */
  #successors({ space, cell, steward }: CarriedCell): NodeId[] {
    const { maps, self } = this.#options;
    const members = steward ? (maps.find({ space, cell })?.place.members ?? []) : [];
    const stateOf = (node: NodeId): Sight['state'] => this.pings.sight(node, cell).state;
    const isHeard = (node: NodeId): boolean => stateOf(node) === 'replica';
    const others = members.filter((node) => node !== self && stateOf(node) !== 'silent');
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
    const { env, carrying, peersOf, recall, faults } = this.#options;
    carried = new CarriedCell({
      env,
      space,
      cell,
      carrying,
      peers: peersOf({ space, cell }),
      recall: (directory) => recall(space, directory),
      faults,
    });
    this.#cells.set(cell, carried);
    return carried;
  }

  /** Does not wait for anything. */
  #tick(): void {
    const { maps, self } = this.#options;
    this.#watch.look();
    if (maps.hasAll) this.#sweeping ??= this.#takeUpLeft().catch(unlessBug);
    for (const { space, cells } of maps.all()) {
      for (const { cell, members } of cells) if (members.includes(self)) this.#carry(space, cell);
    }
    this.pings.ask(this.#companions());
    for (const carried of this.#cells.values()) this.#look(carried);
  }

  /** Databases of cells that came to other nodes while this one was not running: to be dropped. */
  async #takeUpLeft(): Promise<void> {
    const { maps, carrying } = this.#options;
    for (const cell of (await carrying.knownDbs?.()) ?? []) {
      const space = spaceOfCell(cell);
      if (space === undefined) continue;
      const found = maps.find({ space, cell });
      if (found && found.map.version > 0) this.#carry(space, cell);
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
    const working = this.#working.run(work).catch((error: unknown) => {
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
    const isStaying = this.#isSyncing(carried.cell) || this.#watch.isCut || !carried.isAble;
    if (!found) return isStaying ? undefined : () => this.#drop(carried);
    const { map, place } = found;
    const isMember = this.#isMember(place);
    if (!isMember && !carried.steward) return isStaying ? undefined : () => this.#drop(carried);
    if (isMember) this.#syncedAtMs.delete(carried.cell);
    const decision = this.#decide(carried, place);
    // It may have to wait for others, and things may be otherwise then.
    if (decision.act !== 'stay') return () => this.#act(carried, this.#decide(carried, place));
    if (carried.steward && map.move?.source === carried.cell) this.#beginMove(carried, map);
    this.#nudge(carried);
    const isIdle = carried.steward || carried.isFollowing || !carried.isAble;
    return isIdle ? undefined : () => carried.follow();
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
    const { isCut, reachedMs } = this.#watch;
    if (role === 'replica' && (isCut || !carried.isAble)) return { act: 'stay' };
    const { epoch, lsn, sinceMs, loss } = carried;
    const carriedMs = this.#now() - sinceMs;
    return decide({ self, members, sights, role, epoch, lsn, carriedMs, reachedMs, loss });
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

  #beginMove(carried: CarriedCell, map: VersionedMap): void {
    const { cell } = carried;
    if (this.#moves.has(cell) || this.#isClosed) return;
    const moving = this.#move(carried, map).catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
      this.#options.env.log.warn('slots are moved later', { cell, reason: errorMessage(error) });
    });
    this.#moves.set(
      cell,
      moving.finally(() => this.#moves.delete(cell)),
    );
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
