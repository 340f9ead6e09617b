/** Verbs about objects: create, put, get, query, ls, rm, where. */
import type { ObjectView, PlaceView, StorePlaceView } from '../api/index.ts';
import { errorCode } from '../base/index.ts';
import { queryAsDdfs } from './ddfs-commands.ts';
import { addGetVerb } from './get-command.ts';
import { fields, isoDate, shortId, sizeField, table } from './output.ts';
import { addPutVerb } from './put-command.ts';
import { type Session, writeTo } from './session.ts';
import { formatSize } from './sizes.ts';
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
    key: object.key,
    'file name': object.fileName || null,
    'media type': object.mediaType || null,
    size: sizeField(object.sizeBytes),
    scheme: object.scheme,
    address: object.address,
    created: isoDate(object.createdAtMs),
  });
}

function addListVerb(verbs: Verbs): void {
  addVerb(verbs, 'ls', {
    summary: 'list objects by key: key, size, id',
    details: 'Objects without a key come last, with "-" and their file name.',
    args: { '[prefix]': 'only keys that begin with this' },
    hasVolume: true,
    examples: ['holdfast ls', 'holdfast ls logs/', 'holdfast ls --json'],
    action: async (session: Session, { volume }: VolumeOption, prefix: string | undefined) => {
      const { io, isJson, signal } = session;
      let count = 0;
      const onItem = async (object: ObjectView) => {
        const start = count++ === 0 ? '[\n' : ',\n';
        const line = isJson ? start + JSON.stringify(object) : `${listLine(object)}\n`;
        await writeTo(io.stdout, line);
      };
      const input = { volume, ...(prefix === undefined ? {} : { prefix }) };
      await session.client.call('object.list', input, { onItem, signal });
      if (isJson) session.print(count === 0 ? '[]' : '\n]');
    },
  });
}

function listLine({ key, fileName, sizeBytes, id }: ObjectView): string {
  const name = key ?? (fileName === '' ? '-' : `- (${fileName})`);
  const size = formatSize(sizeBytes).padStart(SIZE_COLUMN);
  return `${name.padEnd(KEY_COLUMN)}  ${size}  ${id}`;
}

function addRemoveVerb(verbs: Verbs): void {
  addVerb(verbs, 'rm', {
    summary: 'remove objects',
    details:
      'Their space is free for new puts when it returns. What cannot be removed does not stop ' +
      'the rest.',
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
