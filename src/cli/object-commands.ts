/** Verbs about objects: create, put, get, query, ls, rm, where. */
import type { ListedView, ObjectView, PlaceView, StorePlaceView } from '../api/index.ts';
import { errorCode } from '../base/index.ts';
import { queryAsDdfs } from './ddfs-commands.ts';
import { addGetVerb } from './get-command.ts';
import { fields, isoDate, modeText, shortId, shownName, sizeField, table } from './output.ts';
import { addPutVerb } from './put-command.ts';
import { type Session, writeTo } from './session.ts';
import { formatSize, parseCount } from './sizes.ts';
import { addVerb, oneOf, type Verbs } from './verbs.ts';

const KEY_COLUMN = 40;
const SIZE_COLUMN = 10;

interface VolumeOption {
  readonly volume: string;
}

export function addObjectCommands(verbs: Verbs): void {
  addPutVerb(verbs);
  addGetVerb(verbs);
  addVerb(verbs, 'create', {
    summary: 'make an empty object and print its id',
    details: 'Fill it later with put --id.',
    hasVolume: true,
    examples: ['id=$(holdfast create)', 'holdfast put report.pdf --id $id'],
    action: async (session: Session, { volume }: VolumeOption) => {
      const object = await session.client.call('object.create', { volume }, session);
      session.show(object, () => [object.id]);
    },
  });
  addVerb(verbs, 'query', {
    summary: 'print what is known of an object',
    args: { '[ref]': 'id, key or content address' },
    options: { '-i, --id <id>': "its id; prints what ddfs's query prints, and where it begins" },
    hasVolume: true,
    hasServer: true,
    examples: ['holdfast query $id', 'holdfast query logs/today --json', 'holdfast query -i $id'],
    action: async (
      session: Session,
      { volume, id }: VolumeOption & { id?: string },
      named: string | undefined,
    ) => {
      const reference = oneOf({ 'an object': named, '-i': id });
      if (id !== undefined) return await queryAsDdfs(session, { volume, id });
      const object = await session.client.call('object.query', { volume, reference }, session);
      session.show(object, () => objectFields(object));
    },
  });
  addListVerb(verbs);
  addRemoveVerb(verbs);
  addWhereVerb(verbs);
}

function objectFields(object: ObjectView): string[] {
  return fields({
    id: object.id,
    key: object.key === null ? null : shownName(object.key),
    'file name': object.fileName || null,
    'media type': object.mediaType || null,
    size: sizeField(object.sizeBytes),
    scheme: object.scheme,
    address: object.address || null,
    created: isoDate(object.createdAtMs),
  });
}

interface ListOptions extends VolumeOption {
  readonly long?: boolean;
  readonly after?: string;
  readonly afterId?: string;
  readonly limit?: string;
}

function addListVerb(verbs: Verbs): void {
  addVerb(verbs, 'ls', {
    summary: 'list files by key: key, size, id',
    details:
      'Objects and files of mounts, by each of their names. Objects without a key come last, ' +
      'with "-" and their file name. Names that do not show as they are stand in $\'…\'.',
    args: { '[prefix]': 'only keys that begin with this' },
    options: {
      '-l, --long': 'mode, time of modification, size, id and key',
      '--limit <count>': 'at most so many',
      '--after <key>': 'only what comes after this key, which ended the list before',
      '--after-id <id>': 'the same, when that had no key',
    },
    hasVolume: true,
    examples: ['holdfast ls', 'holdfast ls -l logs/', 'holdfast ls --json --limit 100 --after b/c'],
    action: listFiles,
  });
}

async function listFiles(
  session: Session,
  options: ListOptions,
  prefix: string | undefined,
): Promise<void> {
  const { io, isJson, signal, client } = session;
  const { volume, long = false, after, afterId, limit } = options;
  let count = 0;
  const onItem = async (file: ListedView) => {
    const start = count++ === 0 ? '[\n' : ',\n';
    const line = long ? longLine(file) : listLine(file);
    await writeTo(io.stdout, isJson ? start + JSON.stringify(file) : `${line}\n`);
  };
  const input = {
    volume,
    ...(prefix === undefined ? {} : { prefix }),
    ...(after === undefined ? {} : { after }),
    ...(afterId === undefined ? {} : { afterId }),
    ...(limit === undefined ? {} : { limit: parseCount(limit, { min: 1 }) }),
  };
  await client.call('object.list', input, { onItem, signal });
  if (isJson) session.print(count === 0 ? '[]' : '\n]');
}

function listLine(file: ListedView): string {
  const size = formatSize(file.sizeBytes).padStart(SIZE_COLUMN);
  return `${nameCell(file).padEnd(KEY_COLUMN)}  ${size}  ${file.id}`;
}

function longLine(file: ListedView): string {
  const mode = modeText({ type: 'file', mode: file.mode });
  const size = formatSize(file.sizeBytes).padStart(SIZE_COLUMN);
  return [mode, isoDate(file.modifiedAtMs), size, file.id, nameCell(file)].join('  ');
}

function nameCell({ key, fileName }: ListedView): string {
  if (key !== null) return shownName(key);
  return fileName === '' ? '-' : `- (${shownName(fileName)})`;
}

function addRemoveVerb(verbs: Verbs): void {
  addVerb(verbs, 'rm', {
    summary: 'remove files, with all their names',
    details:
      'Objects and files of mounts; `unlink` removes one name. Their space is free for new puts ' +
      'when it returns, or when nobody has them open. What cannot be removed does not stop the ' +
      'rest.',
    args: { '<refs...>': 'ids, keys or content addresses' },
    hasVolume: true,
    examples: ['holdfast rm $id', 'holdfast rm logs/yesterday logs/today'],
    action: async (session: Session, { volume }: VolumeOption, references: string[]) => {
      const removed: ObjectView[] = [];
      const failures: unknown[] = [];
      for (const reference of references) {
        try {
          const input = { volume, reference };
          removed.push(await session.client.call('object.remove', input, session));
        } catch (error) {
          if (session.signal.aborted || errorCode(error) === 'HF_NOT_RUNNING') throw error;
          failures.push(error);
        }
      }
      if (session.isJson) session.print(JSON.stringify(removed));
      return failAll(session, failures);
    },
  });
}

/** Tells of all failures but the last, which the caller tells of. */
function failAll(session: Session, failures: unknown[]): number {
  const last = failures.pop();
  if (last === undefined) return 0;
  for (const error of failures) session.note(`holdfast: ${(error as Error).message}`);
  throw last;
}

function addWhereVerb(verbs: Verbs): void {
  addVerb(verbs, 'where', {
    summary: 'print on which stores and nodes the shards of an object lie',
    details: 'Notes name each rule of placement that could not be kept, and why.',
    args: { '<ref>': 'id, key or content address' },
    hasVolume: true,
    examples: ['holdfast where $id'],
    action: async (session: Session, { volume }: VolumeOption, reference: string) => {
      const { client, signal } = session;
      const stripes: PlaceView[] = [];
      const onItem = (stripe: PlaceView) => void stripes.push(stripe);
      using _slow = session.sayWhenSlow('asking the stores what they hold of it …');
      await client.call('object.where', { volume, reference }, { signal, onItem });
      session.show(stripes, () => whereLines(stripes));
    },
  });
}

function whereLines(stripes: readonly PlaceView[]): string[] {
  if (stripes.length === 0) return ['no shards: it is empty, or so small that it is with its name'];
  const rows = stripes.flatMap(({ scheme, shards, stores }, index) =>
    shards.map(({ shardIndex, wantedAt, foundAt, badAt }) => [
      `${index} ${scheme}`,
      String(shardIndex),
      wantedAt ? shortId(wantedAt) : '-',
      [...foundAt.map(shortId), ...badAt.map((id) => `${shortId(id)} (bad)`)].join(' ') ||
        'missing',
      placeText(stores[foundAt[0] ?? wantedAt ?? '']),
    ]),
  );
  const notes = new Set(stripes.flatMap(({ relaxed }) => relaxed));
  return [
    ...table(['stripe', 'shard', 'wanted', 'found', 'at'], rows),
    ...[...notes].map((line) => `note: ${line}`),
  ];
}

/** "berlin-2 rack=r1 disk=sda" */
function placeText(place: StorePlaceView | undefined): string {
  if (!place) return '-';
  const domains = Object.entries(place.domains).map(([level, domain]) => `${level}=${domain}`);
  return [place.node ?? 'unknown node', ...domains].join(' ');
}
