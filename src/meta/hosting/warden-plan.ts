/**
 * What the cells of a space ought to look like, as pure functions: how many there are, on which
 * nodes, in which order. A plan is one step from the map that is there towards that; made again
 * after each step, by whoever it is, it ends.
 */
import { assert, type DeviceId, type NodeId, stripeId, utf8, xxh64 } from '../../base/index.ts';
import { DEFAULT_LABEL, LEVELS } from '../../cluster/index.ts';
import type { CellId } from '../../log/index.ts';
import type { Labels } from '../../net/index.ts';
import { handOffOrder, type Topology } from '../../placement/index.ts';
import { type CellPlace, CELLS_MAX, slotCount, type SpaceMap } from './cell-map.ts';

/** A node that offers to carry cells. */
export interface MetadataNode {
  readonly node: NodeId;
  readonly labels: Labels;
  readonly isAlive: boolean;
  /** How much of all it takes, in proportion. */
  readonly weight: number;
}

/** Nodes that have a cell: one may be lost while another is being replaced. */
export const MEMBER_COUNT = 3;
/** Up to so many nodes all of them have all cells, so that more cells would spread nothing. */
const SINGLE_CELL_NODES = 3;
/** Parts in three of a cluster's nodes that each space has cells for (ruling 21). */
const CELLS_PER_NODE = 2 / 3;

/** Levels of failure domains above a node's own disks, widest first. */
const NODE_LEVELS = LEVELS.slice(0, -1);

export type Step =
  | { readonly kind: 'split'; readonly cell: CellId; readonly members: readonly NodeId[] }
  | MembersStep;

export interface MembersStep {
  readonly kind: 'members';
  readonly cell: CellId;
  readonly members: readonly NodeId[];
  /** Those of them that have to be brought up to the log first. */
  readonly added: readonly NodeId[];
}

export interface PlanInput {
  readonly map: SpaceMap;
  readonly nodes: readonly MetadataNode[];
  /** Dead for longer than is waited for. */
  readonly isGivenUp: (node: NodeId) => boolean;
  /** Of how many cells, in all spaces, a node goes first. */
  readonly firsts: ReadonlyMap<NodeId, number>;
}

export function wantedCellCount(nodeCount: number): number {
  if (nodeCount <= SINGLE_CELL_NODES) return 1;
  return Math.min(CELLS_MAX, Math.ceil(nodeCount * CELLS_PER_NODE));
}

/** The next step; `undefined` when all is as it ought to be. */
export function nextStep(input: PlanInput): Step | undefined {
  return replacement(input) ?? split(input) ?? relief(input);
}

/**
 * Members for a cell: those that stay, and others that are alive, in as many failure domains as
 * there are; of equal ones by weighted rendezvous hash of the cell, so that cells spread.
 */
export function chooseMembers(
  cell: CellId,
  nodes: readonly MetadataNode[],
  staying: readonly NodeId[] = [],
): NodeId[] {
  const members = [...staying];
  if (members.length >= MEMBER_COUNT) return members;
  const topology = topologyOf(
    nodes.filter(({ node, isAlive }) => isAlive || members.includes(node)),
  );
  while (members.length < MEMBER_COUNT) {
    const [next] = handOffOrder(
      { layout: NO_LAYOUT, topology },
      { stripe: pointOf(cell), scheme: ONE_A_DOMAIN, taken: members.map(deviceOf) },
    );
    if (next === undefined) return members;
    members.push(next as unknown as NodeId);
  }
  return members;
}

/** Members that are gone give way, and places that are free are filled. */
function replacement({ map, nodes, isGivenUp }: PlanInput): Step | undefined {
  const isOffered = (node: NodeId): boolean => nodes.some((one) => one.node === node);
  for (const { cell, members } of map.cells) {
    const staying = members.filter((node) => isOffered(node) && !isGivenUp(node));
    const next = chooseMembers(cell, nodes, staying);
    const added = next.filter((node) => !members.includes(node));
    // Who is dead stays while there is nobody for its place: it may come back.
    const kept = members.filter((node) => isOffered(node) && !staying.includes(node));
    const all = [...next, ...kept].slice(0, Math.max(MEMBER_COUNT, next.length));
    const isSame = all.length === members.length && all.every((node) => members.includes(node));
    if (!isSame && all.length > 0) return { kind: 'members', cell, members: all, added };
  }
  return undefined;
}

/** One more cell, out of the one with the most slots. */
function split({ map, nodes }: PlanInput): Step | undefined {
  if (map.move || map.cells.length >= wantedCellCount(nodes.length)) return undefined;
  const [widest] = map.cells.toSorted((a, b) => slotCount(b.slots) - slotCount(a.slots));
  if (!widest || slotCount(widest.slots) < 2) return undefined;
  const target = `${map.space}-${map.lastNumber + 1}`;
  const members = chooseMembers(target, nodes);
  return members.length > 0 ? { kind: 'split', cell: widest.cell, members } : undefined;
}

/** A node that goes first too often lets another member go before it. */
function relief({ map, nodes, firsts }: PlanInput): Step | undefined {
  const isAlive = (node: NodeId): boolean => nodes.some((one) => one.node === node && one.isAlive);
  const countOf = (node: NodeId | undefined): number => (node && firsts.get(node)) ?? 0;
  for (const { cell, members } of map.cells) {
    const [first] = members;
    const [idlest] = members
      .filter((node) => node !== first && isAlive(node))
      .toSorted((a, b) => countOf(a) - countOf(b));
    if (!first || !idlest || countOf(idlest) + 1 >= countOf(first)) continue;
    const others = members.filter((node) => node !== idlest);
    return { kind: 'members', cell, members: [idlest, ...others], added: [] };
  }
  return undefined;
}

/** Of how many cells each node goes first, added to `counts`. */
export function countFirsts(
  places: Iterable<Pick<CellPlace, 'members'>>,
  counts = new Map<NodeId, number>(),
): Map<NodeId, number> {
  for (const { members } of places) {
    const first = members[0] as NodeId;
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  return counts;
}

// Nodes as `placement` knows devices: a cell's members are chosen as the places of a stripe are.

const NO_LAYOUT = { epoch: 0, width: 0, table: new Uint16Array() };
/** As if one shard could be lost: each domain has one as long as there are domains. */
const ONE_A_DOMAIN = { kind: 'rs', n: MEMBER_COUNT, k: MEMBER_COUNT - 1 } as const;

function topologyOf(nodes: readonly MetadataNode[]): Topology {
  const devices = nodes.map(({ node, labels, weight }, number) => ({
    id: deviceOf(node),
    number,
    weightBytes: weight,
    state: 'in' as const,
    labels: NODE_LEVELS.map(
      (level) => labels[level] ?? (level === 'server' ? node : DEFAULT_LABEL),
    ),
  }));
  return { epoch: 0, levels: NODE_LEVELS, devices };
}

function deviceOf(node: NodeId): DeviceId {
  return node as unknown as DeviceId;
}

/** Where in the hash a cell stands. */
function pointOf(cell: CellId) {
  const digest = new Uint8Array(32);
  new DataView(digest.buffer).setBigUint64(0, xxh64(utf8(cell)));
  assert(digest.length >= 28, 'a stripe id is cut from a digest');
  return stripeId(digest);
}
