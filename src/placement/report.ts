/**
 * What a layout promises, worked out from the table as it is, not from the rules it was made by:
 * for each level the largest number of domains whose loss no group would feel, and one line in
 * plain words for each rule that could not be kept.
 */
import { GROUP_COUNT } from '../base/index.ts';
import { domainTree, type DomainTree } from './domain-tree.ts';
import { type Layout, type LayoutReport, NO_DEVICE, type Topology } from './layout.ts';

/** Part of the weight out of reach above which the report says so. */
const WASTED_PART_MAX = 0.05;

interface ReportOptions {
  /** Shards of a full row that may be lost. */
  readonly tolerance: number;
  /** Positions that matter, the first ones of a row: all of them when left out. */
  readonly width?: number | undefined;
  /** The layout before, if there was one. */
  readonly previous?: Layout | undefined;
}

/** @param topology that of the layout's epoch. */
export function reportLayout(
  whole: Layout,
  topology: Topology,
  { tolerance, width = whole.width, previous }: ReportOptions,
): LayoutReport {
  const layout = narrowed(whole, width);
  const tree = domainTree(topology);
  const movedPositions = previous ? countMoved(previous, whole) : 0;
  const names = [...topology.levels, 'device'];
  const surveys = names.map((_, i) => survey(layout, tree, { level: i + 1, tolerance }));
  const survives = names.map((level, i) => ({ level, count: surveys[i]!.survived }));
  if (layout.width === 0) return { survives, relaxed: [], movedPositions };
  const relaxed = [
    ...missingLine(layout, tree),
    ...topology.levels.flatMap((level, i) => {
      const { survived, worst } = surveys[i]!;
      if (survived > 0) return [];
      return domainLine(level, countDomains(tree, i + 1), { tree, layout, tolerance, worst });
    }),
    ...wasteLine(whole, tree),
  ];
  return { survives, relaxed, movedPositions };
}

/** The first columns alone; where there are fewer the others have no device. */
function narrowed(layout: Layout, width: number): Layout {
  if (width === layout.width) return layout;
  const table = new Uint16Array(GROUP_COUNT * width).fill(NO_DEVICE);
  const columns = Math.min(width, layout.width);
  for (let row = 0; row < GROUP_COUNT; row++) {
    const start = row * layout.width;
    table.set(layout.table.subarray(start, start + columns), row * width);
  }
  return { ...layout, width, table };
}

interface Survey {
  /** Domains of the level that may be lost at once, in every group. */
  readonly survived: number;
  /** Most positions of a row in one domain. */
  readonly worst: number;
}

/** Looks at each row: which domains would take the most positions with them? */
function survey(
  layout: Layout,
  tree: DomainTree,
  { level, tolerance }: { level: number; tolerance: number },
): Survey {
  const nodes = new Map(
    tree.devices.map(({ number }, index) => [number, tree.paths[index * tree.depth + level]!]),
  );
  let survived = layout.width === 0 ? 0 : countDomains(tree, level);
  let worst = 0;
  const counts = new Uint8Array(tree.parents.length);
  for (let row = 0; row < (layout.width === 0 ? 0 : GROUP_COUNT); row++) {
    counts.fill(0);
    let spare = tolerance;
    for (const number of layout.table.subarray(row * layout.width, (row + 1) * layout.width)) {
      const node = nodes.get(number);
      if (node === undefined) spare -= 1;
      else counts[node]! += 1;
    }
    const largest = counts
      .filter((count) => count > 0)
      .sort()
      .reverse();
    let lost = 0;
    while (lost < largest.length && spare >= largest[lost]!) spare -= largest[lost++]!;
    if (lost < largest.length || spare < 0) survived = Math.min(survived, lost);
    worst = Math.max(worst, largest[0] ?? 0);
  }
  return { survived, worst };
}

function countDomains(tree: DomainTree, level: number): number {
  return tree.levels.reduce((sum, each) => sum + (each === level ? 1 : 0), 0);
}

function countMoved(previous: Layout, layout: Layout): number {
  const columns = Math.min(previous.width, layout.width);
  let moved = 0;
  for (let row = 0; row < GROUP_COUNT; row++) {
    for (let column = 0; column < columns; column++) {
      const before = previous.table[row * previous.width + column];
      if (before !== layout.table[row * layout.width + column]) moved += 1;
    }
  }
  return moved;
}

function missingLine({ width }: Layout, { devices }: DomainTree): string[] {
  if (devices.length >= width) return [];
  const devicesWords = plural('device', devices.length);
  return [`${devicesWords} for ${width} shards: add ${width - devices.length}`];
}

function domainLine(
  level: string,
  domainCount: number,
  facts: { tree: DomainTree; layout: Layout; tolerance: number; worst: number },
): string[] {
  const { tree, layout, tolerance, worst } = facts;
  if (domainCount === 0 || tolerance === 0 || (domainCount > 1 && worst <= tolerance)) return [];
  const share = `${plural('device', tree.devices.length)} share ${plural(level, domainCount)}`;
  if (domainCount === 1) {
    return [`${share}: losing that ${level} loses everything; add ${level}s`];
  }
  const loss = `losing one can take ${worst} of ${layout.width} shards, ${tolerance} may be lost`;
  return [`${share}: ${loss}; add ${level}s or even them out`];
}

/** Weight that stays empty when the fullest device is full. */
function wasteLine({ table }: Layout, { devices }: DomainTree): string[] {
  const loads = new Map<number, number>();
  for (const number of table) loads.set(number, (loads.get(number) ?? 0) + 1);
  const loadOf = (number: number) => loads.get(number) ?? 0;
  const fullest = Math.max(...devices.map((d) => loadOf(d.number) / Math.max(d.weightBytes, 1)));
  const weight = devices.reduce((sum, d) => sum + Math.max(d.weightBytes, 1), 0);
  const positions = table.length - loadOf(NO_DEVICE);
  const wastedPart = 1 - positions / fullest / weight;
  if (!(wastedPart > WASTED_PART_MAX)) return [];
  const percent = Math.round(wastedPart * 100);
  return [
    `${percent} % of the space stays empty: too much of it is in too few places; even it out`,
  ];
}

function plural(word: string, count: number): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
