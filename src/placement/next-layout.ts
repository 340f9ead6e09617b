/**
 * The next layout from the previous one and the topology. Rules, in this order: at most one
 * position of a row on a device; at most *room* positions of a row in a domain; shares proportional
 * to weight as far as the rooms allow; the fewest moves; a hash. The first positions of a row, of
 * which copies are made, are spread by a rule of their own (prefix-rule.ts); longer prefixes are
 * well spread, and all load the devices fairly, as far as that costs no moves.
 *
 * Steps: keep what may stay, work out the shares, take away what breaks a room, fill and move
 * (`Sweep`), settle the few positions that need a chain of moves, then mend the rows whose first
 * positions that has crowded.
 */
import { assert, GROUP_COUNT, SHARDS_MAX } from '../base/index.ts';
import { arrange } from './arrange.ts';
import { domainTree, type DomainTree, roomsOf } from './domain-tree.ts';
import { type Layout, type LayoutReport, NO_DEVICE, type Topology } from './layout.ts';
import { reportLayout } from './report.ts';
import { prefixRoomsOf } from './prefix-rule.ts';
import { EMPTY, Rows } from './rows.ts';
import { settle } from './settle.ts';
import { fairShares } from './shares.ts';
import { isSpread, spreadPrefixes } from './spread-prefixes.ts';
import { Sweep } from './sweep.ts';

export interface LayoutOptions {
  /** Positions of a row: shards of the widest scheme in use. */
  readonly width: number;
  /** Shards of a full row that may be lost: n − k of that scheme. */
  readonly tolerance: number;
}

/** @param previous its columns are kept as far as `width` goes; none for the first layout. */
export function nextLayout(
  previous: Layout | undefined,
  topology: Topology,
  options: LayoutOptions,
): { layout: Layout; report: LayoutReport } {
  const { width, tolerance } = options;
  assert(width >= 0 && width <= SHARDS_MAX, 'the width is that of a scheme');
  assert(tolerance >= 0, 'the tolerance is not negative');
  const tree = domainTree(topology);
  const kept = keptTable(previous, tree, width);
  const filled = Math.min(width, tree.devices.length);
  const ruleLength = Math.min(filled, tolerance + 1);
  const prefixRooms = prefixRoomsOf(tree, ruleLength);
  // A row that is no longer than the rule is its own last prefix.
  const whole = filled === ruleLength ? prefixRooms.at(-1) : undefined;
  const rooms = whole ?? roomsOf(tree, filled, tolerance);
  const shares = fairShares(tree, { rooms, prefixRooms }, loadsOf(kept, tree));
  const rows = new Rows(tree, { width, shares, rooms, prefixRooms });
  for (const [slot, device] of kept.entries()) if (device !== EMPTY) rows.set(slot, device);
  if (!isGoodEnough(rows)) remake(rows, kept);

  const numbers = Uint16Array.from(tree.devices, ({ number }) => number);
  const table = rows.table.map((device) => (device === EMPTY ? NO_DEVICE : numbers[device]!));
  const layout: Layout = { epoch: topology.epoch, width, table };
  return { layout, report: reportLayout(layout, topology, { tolerance, previous }) };
}

function remake(rows: Rows, kept: Uint16Array): void {
  rows.evict();
  for (const care of ['rule', 'prefix', 'even', 'share', 'any', 'rest'] as const) {
    if (!rows.isMet()) new Sweep(rows, care).run();
  }
  const isFree = (slot: number) => rows.table[slot] !== kept[slot];
  settle(rows, isFree);
  arrange(rows, isFree);
  spreadPrefixes(rows, kept);
}

/**
 * Whether rows keep all rules, and every device has its share but for what the prefix rule left
 * over: then nothing moves.
 */
function isGoodEnough(rows: Rows): boolean {
  return rows.hasRoom() && rows.isNearlyMet() && isSpread(rows);
}

/** The previous table as device indexes; EMPTY where there was none or it takes shards no more. */
function keptTable(previous: Layout | undefined, tree: DomainTree, width: number): Uint16Array {
  const kept = new Uint16Array(GROUP_COUNT * width).fill(EMPTY);
  if (!previous) return kept;
  assert(previous.table.length === GROUP_COUNT * previous.width, 'the table has all its rows');
  const indexes = new Uint16Array(NO_DEVICE + 1).fill(EMPTY);
  for (const [index, { number }] of tree.devices.entries()) indexes[number] = index;
  const columns = Math.min(width, previous.width);
  for (let row = 0; row < GROUP_COUNT; row++) {
    for (let column = 0; column < columns; column++) {
      kept[row * width + column] = indexes[previous.table[row * previous.width + column]!]!;
    }
  }
  return kept;
}

function loadsOf(table: Uint16Array, tree: DomainTree): Int32Array {
  const loads = new Int32Array(tree.devices.length);
  for (const device of table) if (device !== EMPTY) loads[device]! += 1;
  return loads;
}
