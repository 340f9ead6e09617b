/** Verbs about where the metadata is: meta status, where, use-etcd, restore. */
import fs from 'node:fs/promises';
import type {
  CellMemberView,
  CellView,
  MetadataView,
  NamedEtcdView,
  PathCellView,
  RingSeatView,
} from '../api/index.ts';
import { errorMessage, HoldfastError } from '../base/index.ts';
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
  addVerb(group, 'use-etcd', {
    summary: 'keep names in an etcd that you already run, in place of a ring of the nodes',
    details:
      'Names move there while the cluster runs. Every node that keeps metadata must reach it; ' +
      'all learn of it from this one command, said on the node that has the names, or on any of ' +
      'the ring. Said again, it tells a new address or new certificates of the same etcd (3.4 ' +
      'to 3.6).',
    args: { '<endpoints>': 'all members, with commas between: https://HOST:2379,…' },
    options: {
      '--ca <file>': "who vouches for etcd's certificates (PEM); else the public authorities",
      '--cert <file>': 'certificate of this cluster as a client of etcd (PEM)',
      '--key <file>': 'its key (PEM)',
      '--prefix <prefix>': 'how all keys in it begin (default: holdfast/)',
      '--allow-plain-http': 'allow http:// beyond this machine: whoever listens can change names',
    },
    examples: [
      'holdfast meta use-etcd http://127.0.0.1:2379',
      'holdfast meta use-etcd https://a:2379,https://b:2379,https://c:2379 \\\n' +
        '    --ca ca.pem --cert holdfast.pem --key holdfast-key.pem --prefix holdfast/home/',
    ],
    action: useEtcd,
  });
  addVerb(group, 'restore', {
    summary: 'begin a new ring, when most members of the old one are lost for good',
    details:
      'Only when the lost nodes will never come back: two rings that both go on would part ways. ' +
      'Run it on the node that has the most of the old ring; another one names it. With an ' +
      'etcd of your own: after you restored it from a backup, before other nodes are started.',
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

interface UseEtcdOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly prefix?: string;
  readonly allowPlainHttp?: boolean;
}

async function useEtcd(
  session: Session,
  { ca, cert, key, prefix, allowPlainHttp }: UseEtcdOptions,
  endpoints: string,
): Promise<void> {
  const said = {
    prefix,
    authority: await textOf(session, ca),
    certificate: await textOf(session, cert),
    key: await textOf(session, key),
    isPlainAllowed: allowPlainHttp,
  };
  const given = Object.fromEntries(Object.entries(said).filter(([, one]) => one !== undefined));
  const list = endpoints.split(',').filter((one) => one !== '');
  const { lines } = await session.client.call(
    'meta.useEtcd',
    { endpoints: list, ...given },
    session,
  );
  session.show({ lines }, () => [...lines]);
}

async function textOf(session: Session, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await fs.readFile(session.resolve(path), 'utf8');
  } catch (error) {
    const message = `cannot read ${path}: ${errorMessage(error)}`;
    throw new HoldfastError('HF_NOT_FOUND', message, { cause: error });
  }
}

function engineText(engine: string, etcd: NamedEtcdView | null): string {
  if (engine === 'local') return 'local: one node carries everything';
  return etcd ? `etcd of yours, under ${etcd.prefix}` : engine;
}

function reportLines(report: MetadataView): string[] {
  const { engine, generation, home, ring, etcd, cells, note } = report;
  const summary = fields({
    engine: engineText(engine, etcd),
    generation,
    home: home?.name ?? null,
    cells: cells.length === 0 ? null : plural('cell', cells.length),
    note,
  });
  return [
    ...summary,
    ...(ring.length === 0 ? [] : ['', ...seatTable(ring)]),
    ...(etcd ? ['', ...etcdTable(etcd)] : []),
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

function etcdTable({ members }: NamedEtcdView): string[] {
  const rows = members.map(({ endpoint, isLeader, version, dbBytes, reason }) => [
    endpoint,
    reason === null ? (isLeader ? 'well, leads' : 'well') : 'ill',
    version ?? '-',
    dbBytes === null ? '-' : formatSize(dbBytes),
    reason ?? '',
  ]);
  return table(['etcd', 'is', 'version', 'size', ''], rows);
}

function cellTable(cells: readonly CellView[]): string[] {
  const rows = cells.map((cell) => [
    cell.volume ?? 'references',
    slotsText(cell),
    cell.steward?.name ?? 'none answers',
    cell.members.map(memberText).join(' '),
    cell.entry === null ? '-' : String(cell.entry),
  ]);
  return table(['of', 'slots', 'steward', 'members', 'entry'], rows);
}

/** A member whose copy of the names is not the newest, or unknown, says so. */
function memberText({ name, behind }: CellMemberView): string {
  if (behind === null) return `${name} (not heard)`;
  return behind === 0 ? name : `${name} (${behind} behind)`;
}

function slotsText({ slots: [from, to] }: CellView): string {
  return from === 0 && to === SLOTS_TEXT ? 'all' : `${from}–${to - 1}`;
}

function placeLines(places: readonly PathCellView[]): string[] {
  return places.flatMap(({ what, slot, cell }) => {
    const at = `${what}: slot ${slot}`;
    if (!cell) return [`${at}, on the home; all metadata is on one node`];
    const { steward, members } = cell;
    const names = members.map(memberText).join(', ');
    return [`${at}, cell ${cell.cell} on ${names}; steward: ${steward?.name ?? 'none answers'}`];
  });
}
