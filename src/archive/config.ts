/**
 * What an archive is made of, from a YAML file. A *scheme* says where the files of one tree are:
 * its *master stores* hold whole files (*replicas*), its *share stores* one share of each file. A
 * *drive* store is a folder of a volume that is known by its label, wherever it is mounted; a
 * *fixed* store is a folder with an absolute path.
 *
 * Keys are those of gnetraid's Media-RAID, and `sealed` and `replicas` are ours. Whatever is not
 * understood is refused, with its line: a mistyped key must not become a default.
 */
import path from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, stringify } from 'yaml';
import { type ErrorCode, HoldfastError } from '../base/index.ts';

export type StorePlace =
  | { readonly kind: 'drive'; readonly label: string; readonly path: string }
  | { readonly kind: 'fixed'; readonly path: string };

export interface SchemeConfig {
  readonly name: string;
  readonly description: string;
  /** By name; the first is the master place. */
  readonly masterStores: ReadonlyMap<string, StorePlace>;
  /** Share i lies in the i-th. */
  readonly shareStores: readonly StorePlace[];
  readonly quorum: number;
  readonly width: 1 | 2 | 4;
  /** For shares that are thrown away, and content that is read; absolute. */
  readonly workingDir: string | undefined;
  /** Whether `scan` looks at master stores other than the first. */
  readonly scansOthers: boolean;
  readonly isSealed: boolean;
  /** Replicas that `commit` leaves. */
  readonly replicas: number;
}

export interface ArchiveConfig {
  readonly mountRoot: string;
  readonly schemes: readonly SchemeConfig[];
}

const DEFAULT_MOUNT_ROOT = '/media';
const DEFAULT_REPLICAS = 1;
const NAME = /^[A-Za-z0-9][\w.-]*$/;
/** What share stores are called. */
export const SHARE_STORE_NAME: RegExp = /^share-\d+$/;
const SCHEME_KEYS = [
  'description',
  'master_stores',
  'share_stores',
  'nshares',
  'quorum',
  'width',
  'working_dir',
  'scan_others',
  'sealed',
  'replicas',
];

/** @param file its name, for messages. @throws HF_BAD_ARGUMENT, HF_BAD_SCHEME. */
export function parseConfig(text: string, file: string): ArchiveConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [error] = document.errors;
  if (error) {
    const [reason = ''] = error.message.split('\n', 1);
    throw new HoldfastError('HF_BAD_ARGUMENT', `${file}: ${reason.replace(/:$/, '')}`);
  }
  const reader = new ConfigReader(file, lines);
  const root = reader.map(document.contents, 'an archive configuration');
  reader.known(root, ['mount_root', 'schemes']);
  const mountRoot = reader.absolute(root.get('mount_root')) ?? DEFAULT_MOUNT_ROOT;
  const named = reader.map(root.get('schemes'), 'schemes');
  const schemes = [...named].map(([name, entry]) => readScheme(reader, name, entry));
  assertApart(file, schemes);
  return { mountRoot, schemes };
}

/** A file that {@link parseConfig} reads as the same configuration, with all defaults said. */
export function dumpConfig(config: ArchiveConfig): string {
  return stringify(configValue(config));
}

/** What {@link dumpConfig} writes, for JSON. */
export function configValue({ mountRoot, schemes }: ArchiveConfig): Record<string, unknown> {
  const dumped = schemes.map((scheme) => [
    scheme.name,
    {
      description: scheme.description,
      master_stores: Object.fromEntries(
        [...scheme.masterStores].map(([name, place]) => [name, dumpPlace(place)]),
      ),
      share_stores: scheme.shareStores.map(dumpPlace),
      nshares: scheme.shareStores.length,
      quorum: scheme.quorum,
      width: scheme.width,
      ...(scheme.workingDir === undefined ? {} : { working_dir: scheme.workingDir }),
      scan_others: scheme.scansOthers ? 1 : 0,
      sealed: scheme.isSealed,
      replicas: scheme.replicas,
    },
  ]);
  return { mount_root: mountRoot, schemes: Object.fromEntries(dumped) };
}

export function describePlace(place: StorePlace): string {
  if (place.kind === 'fixed') return place.path;
  return `drive ${place.label}${place.path === '' ? '' : `, ${place.path}`}`;
}

function dumpPlace(place: StorePlace): Record<string, string> {
  return place.kind === 'drive' ? { drive: place.label, path: place.path } : { path: place.path };
}

interface Entry {
  readonly key: Node;
  readonly value: Node | null;
}

function readScheme(reader: ConfigReader, name: string, { key, value }: Entry): SchemeConfig {
  if (!NAME.test(name)) reader.fail(key, `a scheme is named by letters and digits, not "${name}"`);
  const map = reader.map({ key, value }, `scheme ${name}`);
  reader.known(map, SCHEME_KEYS);
  const masters = reader.map(reader.needed(map, 'master_stores', key), 'master_stores');
  if (masters.size === 0) reader.fail(key, `scheme ${name} has no master store`);
  const masterStores = new Map(
    [...masters].map(([store, entry]) => {
      if (NAME.test(store) && !SHARE_STORE_NAME.test(store))
        return [store, readPlace(reader, entry)];
      return reader.fail(entry.key, `a master store cannot be named "${store}"`);
    }),
  );
  const list = reader.needed(map, 'share_stores', key);
  if (!isSeq<Node>(list.value)) return reader.fail(list.key, 'share_stores is a list');
  const shareStores = list.value.items.map((item) => readPlace(reader, { key: item, value: item }));
  const nshares = reader.count(reader.needed(map, 'nshares', key), { min: 1, max: 255 });
  const quorum = reader.count(reader.needed(map, 'quorum', key), { min: 1, max: 255 });
  if (nshares !== shareStores.length) {
    const message = `nshares is ${nshares}, but there are ${shareStores.length} share stores`;
    reader.fail(map.get('nshares')!.key, message, 'HF_BAD_SCHEME');
  }
  if (quorum > nshares) {
    const message = `quorum is ${quorum}, more than the ${nshares} shares`;
    reader.fail(map.get('quorum')!.key, message, 'HF_BAD_SCHEME');
  }
  const width = map.has('width') ? reader.count(map.get('width')!, { min: 1, max: 4 }) : 1;
  if (width !== 1 && width !== 2 && width !== 4) {
    return reader.fail(map.get('width')!.key, `width is 1, 2 or 4, not ${width}`, 'HF_BAD_SCHEME');
  }
  if (quorum + nshares > 2 ** (8 * width)) {
    const message = `quorum and nshares are ${quorum + nshares} together: that needs width 2`;
    reader.fail(map.get('nshares')!.key, message, 'HF_BAD_SCHEME');
  }
  const replicas = map.get('replicas');
  return {
    name,
    description: reader.text(map.get('description')) ?? '',
    masterStores,
    shareStores,
    quorum,
    width,
    workingDir: reader.absolute(map.get('working_dir')),
    scansOthers: reader.flag(map.get('scan_others')) ?? true,
    isSealed: reader.flag(map.get('sealed')) ?? true,
    replicas: replicas ? reader.count(replicas, { min: 0, max: masters.size }) : DEFAULT_REPLICAS,
  };
}

function readPlace(reader: ConfigReader, entry: Entry): StorePlace {
  const map = reader.map(entry, 'a store');
  reader.known(map, ['drive', 'path']);
  const label = reader.text(map.get('drive'));
  if (label === undefined) {
    const place = reader.absolute(reader.needed(map, 'path', entry.key));
    return { kind: 'fixed', path: place! };
  }
  const within = path.normalize(reader.text(map.get('path')) ?? '.').replace(/\/$/, '');
  if (label === '' || label.includes('/')) reader.fail(entry.key, `"${label}" is no label`);
  if (path.isAbsolute(within) || within.split('/')[0] === '..') {
    reader.fail(entry.key, `the path of drive ${label} is relative to the drive`);
  }
  return { kind: 'drive', label, path: within === '.' ? '' : within };
}

/** No store lies in another: a share would be taken for a file, or a file split twice. */
function assertApart(file: string, schemes: readonly SchemeConfig[]): void {
  const all = schemes.flatMap(({ name, masterStores, shareStores }) =>
    [...masterStores.values(), ...shareStores].map((place) => ({ name, place })),
  );
  for (const [index, { name, place }] of all.entries()) {
    const other = all.slice(index + 1).find((later) => overlaps(place, later.place));
    if (!other) continue;
    const where = `${describePlace(place)} (scheme ${name}) and ${describePlace(other.place)}`;
    const message = `${file}: stores must lie apart: ${where} (scheme ${other.name})`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
}

function overlaps(a: StorePlace, b: StorePlace): boolean {
  if (a.kind !== b.kind) return false;
  if (a.kind === 'drive' && b.kind === 'drive' && a.label !== b.label) return false;
  const [first, second] = [`/${a.path}/`, `/${b.path}/`].map((place) => path.normalize(place));
  return first!.startsWith(second!) || second!.startsWith(first!);
}

/** Values of the YAML tree; what is wrong is told with its line. */
class ConfigReader {
  readonly #file: string;
  readonly #lines: LineCounter;

  constructor(file: string, lines: LineCounter) {
    this.#file = file;
    this.#lines = lines;
  }

  fail(node: Node | null, message: string, code: ErrorCode = 'HF_BAD_ARGUMENT'): never {
    const offset = node?.range?.[0];
    const line = offset === undefined ? '' : `:${this.#lines.linePos(offset).line}`;
    throw new HoldfastError(code, `${this.#file}${line}: ${message}`);
  }

  map(value: Entry | Node | null | undefined, what: string): Map<string, Entry> {
    const node = value && 'key' in value && 'value' in value ? (value as Entry).value : value;
    if (!isMap<Node, Node | null>(node)) {
      return this.fail((value as Entry | undefined)?.key ?? null, `${what} must have keys`);
    }
    return new Map(
      node.items.map(({ key, value: item }) => [
        isScalar(key) ? String(key.source ?? key.value) : this.fail(key, 'a key is a word'),
        { key, value: item },
      ]),
    );
  }

  known(map: ReadonlyMap<string, Entry>, keys: readonly string[]): void {
    for (const [name, { key }] of map) {
      if (!keys.includes(name)) {
        this.fail(key, `there is no key "${name}" here; there are ${keys.join(', ')}`);
      }
    }
  }

  needed(map: ReadonlyMap<string, Entry>, name: string, within: Node): Entry {
    return map.get(name) ?? this.fail(within, `the key "${name}" is missing`);
  }

  text(entry: Entry | undefined): string | undefined {
    if (!entry) return undefined;
    const { value } = entry;
    if (value === null || !isScalar(value)) return this.fail(entry.key, 'this is a line of text');
    return value.value === null ? '' : (value.source ?? String(value.value as string | number));
  }

  absolute(entry: Entry | undefined): string | undefined {
    const text = this.text(entry);
    if (text === undefined) return undefined;
    if (!path.isAbsolute(text)) this.fail(entry!.key, `"${text}" is no absolute path`);
    return path.resolve(text);
  }

  count(entry: Entry, { min, max }: { min: number; max: number }): number {
    const value = Number(this.text(entry) || 'none');
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    return this.fail(entry.key, `this is a whole number from ${min} to ${max}`, 'HF_BAD_SCHEME');
  }

  flag(entry: Entry | undefined): boolean | undefined {
    const text = this.text(entry);
    if (text === undefined || text === '1' || text === 'true')
      return text === undefined ? undefined : true;
    return text === '0' || text === 'false' ? false : this.fail(entry!.key, 'this is 1 or 0');
  }
}
