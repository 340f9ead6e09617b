/** Verbs about where the metadata is: meta status, where, restore. */
import type { CellView, MetadataView, PathCellView, RingSeatView } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import { fields, plural, table } from './output.ts';
import type { Session } from './session.ts';
import { formatSize } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

const SLOTS_TEXT = 4096;

export function addMetaCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'meta', 'where names, inodes and manifests are kept');
  addVerb(group, 'status', {
    summary: 'print the engine, the ring and the cells of the metadata',
    details:
      'With one or two nodes all of it is on one, the home. From three on a ring of three agrees ' +
      'on the order of changes, and cells of three nodes each keep the names.',
    examples: ['holdfast meta status', 'holdfast meta status --json'],
    action: async (session: Session) => {
      const report = await session.client.call('meta.report', {}, session);
      session.show(report, () => reportLines(report));
    },
  });
  addVerb(group, 'where', {
    summary: 'print the cells, nodes and stewards that keep a path',
    args: { '[path]': 'names joined by "/"; the root when left out' },
    hasVolume: true,
    examples: ['holdfast meta where photos/2026', 'holdfast meta where --json'],
    action: async (
      session: Session,
      { volume }: { readonly volume: string },
      path: string | undefined,
    ) => {
      const input = { volume, path: path ?? '' };
      const places = await session.client.call('meta.where', input, session);
      session.show(places, () => placeLines(places));
    },
  });
  addVerb(group, 'restore', {
    summary: 'begin a new ring, when most members of the old one are lost for good',
    details:
      'Only when the lost nodes will never come back: two rings that both go on would part ways. ' +
      'Run it on the node that has the most of the old ring; another one names it.',
    options: { '--lost-for-good': 'says that the other members will never come back' },
    examples: ['holdfast meta restore --lost-for-good'],
    action: async (session: Session, { lostForGood }: { readonly lostForGood?: boolean }) => {
      if (lostForGood !== true) {
        const message =
          'members that are only cut off would go on by themselves; if they will never come back';
        throw new HoldfastError('HF_BAD_ARGUMENT', `${message}, say --lost-for-good`);
      }
      const { lines } = await session.client.call('meta.restore', {}, session);
      session.show({ lines }, () => [...lines]);
    },
  });
}

function reportLines({ engine, generation, home, ring, cells }: MetadataView): string[] {
  const summary = fields({
    engine: engine === 'local' ? 'local: one node carries everything' : engine,
    generation,
    home: home?.name ?? null,
    cells: cells.length === 0 ? null : plural('cell', cells.length),
  });
  return [
    ...summary,
    ...(ring.length === 0 ? [] : ['', ...seatTable(ring)]),
    ...(cells.length === 0 ? [] : ['', ...cellTable(cells)]),
  ];
}

function seatTable(ring: readonly RingSeatView[]): string[] {
  const rows = ring.map((seat) => [
    seat.name,
    seat.isLeader ? `${seat.seat}, leads` : seat.seat,
    seat.state ?? 'does not answer',
    seat.version ?? '-',
    seat.dbBytes === null ? '-' : formatSize(seat.dbBytes),
    seat.reason ?? '',
  ]);
  return table(['ring', 'seat', 'etcd', 'version', 'size', ''], rows);
}

function cellTable(cells: readonly CellView[]): string[] {
  const rows = cells.map((cell) => [
    cell.volume ?? 'references',
    slotsText(cell),
    cell.steward?.name ?? 'none answers',
    cell.members.map(({ name }) => name).join(' '),
    cell.entry === null ? '-' : String(cell.entry),
  ]);
  return table(['of', 'slots', 'steward', 'members', 'entry'], rows);
}

function slotsText({ slots: [from, to] }: CellView): string {
  return from === 0 && to === SLOTS_TEXT ? 'all' : `${from}–${to - 1}`;
}

function placeLines(places: readonly PathCellView[]): string[] {
  return places.flatMap(({ what, slot, cell }) => {
    const at = `${what}: slot ${slot}`;
    if (!cell) return [`${at}, on the home; all metadata is on one node`];
    const { steward, members } = cell;
    const names = members.map(({ name }) => name).join(', ');
    return [`${at}, cell ${cell.cell} on ${names}; steward: ${steward?.name ?? 'none answers'}`];
  });
}
