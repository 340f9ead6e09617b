/**
 * Finds the stores of a scheme, and tells whether they are what they claim to be. Each store has a
 * *marker* at its root, written by `init` and never by anything else:
 *
 *     {"format":"holdfast-archive-store-1","id":"…","scheme":"photos","store":"main","drive":"A"}
 *
 * A folder without the right marker is *offline*, whatever it holds: an empty mount point never
 * passes for a store whose files were all deleted.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, HoldfastError, mapBounded } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import type { Catalogue } from './catalogue.ts';
import { describePlace, type SchemeConfig, type StorePlace } from './config.ts';
import type { Disk } from './disk.ts';
import { lookAt } from './file-fact.ts';
import { absent, type Volumes } from './volumes.ts';

export const MARKER_FILE = '.holdfast-archive';
/** Until it is whole. */
export const NEW_MARKER_FILE = `${MARKER_FILE}.new`;

const FORMAT = 'holdfast-archive-store-1';
const ID_BYTES = 16;
const LOOKS_MAX = 8;

export interface Store {
  readonly scheme: string;
  /** `main`, `share-2` */
  readonly name: string;
  readonly place: StorePlace;
  /** Absent when it is offline. */
  readonly root: string | undefined;
  readonly id: string | undefined;
  /** Why it is offline. */
  readonly reason: string | undefined;
}

export interface OnlineStore extends Store {
  readonly root: string;
}

export function isOnline(store: Store): store is OnlineStore {
  return store.root !== undefined;
}

export interface SchemeStores {
  readonly masters: readonly Store[];
  /** By share number. */
  readonly shares: readonly Store[];
}

export interface StoreFinder {
  readonly volumes: Volumes;
  readonly catalogue: Catalogue;
}

/** Looks for all of them, and remembers the ids of those seen for the first time. */
export async function findStores(scheme: SchemeConfig, finder: StoreFinder): Promise<SchemeStores> {
  const named = namedPlaces(scheme);
  const stores = await mapBounded(named, LOOKS_MAX, ([name, place]) =>
    findStore({ scheme: scheme.name, name, place }, finder),
  );
  for (const { name, id } of stores) {
    if (id === undefined || finder.catalogue.storeId(scheme.name, name) !== undefined) continue;
    await finder.catalogue.putStoreId(scheme.name, name, id);
  }
  const masterCount = scheme.masterStores.size;
  return { masters: stores.slice(0, masterCount), shares: stores.slice(masterCount) };
}

/** Whether it is still there: a drive may have been pulled since it was found. */
export async function isStillThere(store: OnlineStore): Promise<boolean> {
  const fault = await markerFault(store, { root: store.root, id: store.id });
  return typeof fault !== 'string';
}

/** @throws HF_UNAVAILABLE when it has gone. */
export async function assertStillThere(store: OnlineStore): Promise<void> {
  if (!(await isStillThere(store))) throw offline(store, 'it has gone meanwhile');
}

/** @throws HF_UNAVAILABLE, with the first that is offline. */
export function assertOnline(stores: readonly Store[], why: string): readonly OnlineStore[] {
  return stores.map((store) => {
    if (isOnline(store)) return store;
    throw offline(store, `${store.reason}; ${why}`);
  });
}

/** What configurations cannot show: places that links or mounts put into others. */
export async function assertApart(stores: readonly Store[], workPath: string): Promise<void> {
  const places = new Map([[await realPlace(workPath), 'the working directory']]);
  for (const store of stores.filter(isOnline)) {
    const name = `store ${store.scheme}/${store.name}`;
    places.set(await fs.realpath(store.root), name);
  }
  for (const [inner, name] of places) {
    for (const [outer, other] of places) {
      if (inner === outer || other === 'the working directory') continue;
      if (!inner.startsWith(`${outer}/`)) continue;
      const message = `${name} lies in ${other}: ${inner} in ${outer}; they must lie apart`;
      throw new HoldfastError('HF_BAD_ARGUMENT', message);
    }
  }
}

/** With links followed, as far as it exists. */
export async function realPlace(place: string): Promise<string> {
  const real = await fs.realpath(place).catch(absent);
  if (real !== undefined || place === '/') return real ?? place;
  return path.join(await realPlace(path.dirname(place)), path.basename(place));
}

function offline({ scheme, name, place }: Store, reason: string): HoldfastError {
  const message = `store ${scheme}/${name} (${describePlace(place)}) is offline: ${reason}`;
  return new HoldfastError('HF_UNAVAILABLE', message);
}

function namedPlaces(scheme: SchemeConfig): [name: string, place: StorePlace][] {
  const shares = scheme.shareStores.map((place, number): [string, StorePlace] => [
    `share-${number}`,
    place,
  ]);
  return [...scheme.masterStores, ...shares];
}

type Wanted = Pick<Store, 'scheme' | 'name' | 'place'>;

async function findStore(wanted: Wanted, finder: StoreFinder): Promise<Store> {
  const id = finder.catalogue.storeId(wanted.scheme, wanted.name);
  const { places, missing } = await placesOf(wanted.place, finder.volumes);
  const faults: string[] = [];
  const found: { root: string; id: string }[] = [];
  for (const root of places) {
    const marker = await markerFault(wanted, { root, id });
    if (typeof marker === 'string') faults.push(marker);
    else found.push({ root, id: marker.id });
  }
  if (found.length === 0 && wanted.place.kind === 'drive') {
    found.push(...(await elsewhere(wanted, { id, volumes: finder.volumes })));
  }
  const [first, ...others] = found;
  if (!first) return { ...wanted, root: undefined, id: undefined, reason: faults[0] ?? missing };
  for (const { root } of others) {
    if (await isSameFolder(first.root, root)) continue;
    const reason = `${first.root} and ${root} both claim to be it`;
    return { ...wanted, root: undefined, id: undefined, reason };
  }
  return { ...wanted, ...first, reason: undefined };
}

/** Mounted twice, and no copy of it. */
async function isSameFolder(one: string, other: string): Promise<boolean> {
  const [a, b] = [await lookAt(one), await lookAt(other)];
  return a?.dev === b?.dev && a?.ino === b?.ino;
}

/** Where nothing says which volume has which label: the drive knows itself, by its marker. */
async function elsewhere(
  wanted: Wanted,
  { id, volumes }: { id: string | undefined; volumes: Volumes },
): Promise<{ root: string; id: string }[]> {
  if (volumes.knowsLabels) return [];
  const found: { root: string; id: string }[] = [];
  for (const point of volumes.mountPoints) {
    const root = path.join(point, wanted.place.path);
    const marker = await markerFault(wanted, { root, id });
    if (typeof marker !== 'string') found.push({ root, id: marker.id });
  }
  return found;
}

async function placesOf(
  place: StorePlace,
  volumes: Volumes,
): Promise<{ places: string[]; missing: string }> {
  if (place.kind === 'fixed') return { places: [place.path], missing: '' };
  const points = await volumes.withLabel(place.label);
  const places = points.map((point) => path.join(point, place.path));
  return { places, missing: `no volume ${place.label} is mounted` };
}

interface Marker {
  readonly id: string;
}

/** The marker, or why this folder is not the store. */
async function markerFault(
  wanted: Wanted,
  { root, id }: { root: string; id: string | undefined },
): Promise<Marker | string> {
  let text: string | undefined;
  try {
    text = await fs.readFile(path.join(root, MARKER_FILE), 'utf8').catch(absent);
    if (text === undefined && !(await fs.stat(root).catch(absent))) {
      return `there is no folder ${root}`;
    }
  } catch (error) {
    return errorMessage(error);
  }
  if (text === undefined) {
    return id === undefined
      ? `${root} has no marker; run "holdfast archive init"`
      : `${root} has no marker: it is not the folder that it was`;
  }
  const marker = parseMarker(text);
  if (!marker) return `the marker of ${root} cannot be read`;
  if (marker.scheme !== wanted.scheme || marker.store !== wanted.name) {
    return `${root} is store ${marker.scheme}/${marker.store}`;
  }
  if (wanted.place.kind === 'drive' && marker.drive !== wanted.place.label) {
    return `${root} is of drive ${marker.drive ?? 'none'}`;
  }
  if (id !== undefined && marker.id !== id) return `${root} is another store of that name`;
  return { id: marker.id };
}

interface MarkerFields {
  readonly id: string;
  readonly scheme: string;
  readonly store: string;
  readonly drive?: string;
}

function parseMarker(text: string): MarkerFields | undefined {
  try {
    const { format, ...marker } = JSON.parse(text) as MarkerFields & { format?: unknown };
    const isWhole = [marker.id, marker.scheme, marker.store].every((v) => typeof v === 'string');
    return format === FORMAT && isWhole ? marker : undefined;
  } catch {
    return undefined;
  }
}

export interface InitOptions extends StoreFinder {
  readonly disk: Disk;
  readonly random: Pick<Random, 'bytes'>;
  /** Names of stores whose folder takes the place of one that was there before. */
  readonly adopts: readonly string[];
  readonly isDryRun: boolean;
}

export interface InitResult {
  readonly store: string;
  readonly state: 'made' | 'there' | 'offline';
  readonly detail: string;
}

/** Makes the folders and markers of a scheme's stores; those that are there stay as they are. */
export async function initStores(
  scheme: SchemeConfig,
  options: InitOptions,
): Promise<InitResult[]> {
  const { masters, shares } = await findStores(scheme, options);
  const results: InitResult[] = [];
  for (const store of [...masters, ...shares]) {
    const name = `${scheme.name}/${store.name}`;
    if (isOnline(store)) results.push({ store: name, state: 'there', detail: store.root });
    else {
      const made = await initStore(store, options).catch((error: unknown) => {
        return { state: 'offline' as const, detail: errorMessage(error) };
      });
      results.push({ store: name, ...made });
    }
  }
  return results;
}

async function initStore(
  store: Store,
  options: InitOptions,
): Promise<{ state: 'made' | 'offline'; detail: string }> {
  const { catalogue, disk, adopts, isDryRun } = options;
  const { places, missing } = await placesOf(store.place, options.volumes);
  const [root, second] = places;
  if (root === undefined) return { state: 'offline', detail: missing };
  if (second !== undefined) {
    return { state: 'offline', detail: `it could be ${root} or ${second}; unmount one` };
  }
  const isAdopted = adopts.includes(`${store.scheme}/${store.name}`);
  const wasThere = catalogue.storeId(store.scheme, store.name) !== undefined;
  const hasMarker = (await fs.lstat(path.join(root, MARKER_FILE)).catch(absent)) !== undefined;
  if (hasMarker || (wasThere && !isAdopted)) {
    const hint = hasMarker ? '' : `; to begin anew there: --adopt ${store.scheme}/${store.name}`;
    return { state: 'offline', detail: `${store.reason}${hint}` };
  }
  if (isDryRun) return { state: 'made', detail: root };
  const id = Buffer.from(options.random.bytes(ID_BYTES)).toString('hex');
  const drive = store.place.kind === 'drive' ? { drive: store.place.label } : {};
  const fields = { format: FORMAT, id, scheme: store.scheme, store: store.name, ...drive };
  await disk.makeFolder(root);
  const marker = path.join(root, MARKER_FILE);
  const made = path.join(root, NEW_MARKER_FILE);
  await fs.writeFile(made, `${JSON.stringify(fields)}\n`);
  await disk.sync(made);
  await disk.rename(made, marker);
  await catalogue.putStoreId(store.scheme, store.name, id);
  return { state: 'made', detail: root };
}
