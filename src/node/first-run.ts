/** What happens when a data directory is new: keys, stores and the first volume; or a recovery. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode, errorMessage, HoldfastError, mapBounded } from '../base/index.ts';
import { decodeRecoveryKit, type RecoveryKit } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Core } from './core.ts';
import type { DataDirectory } from './data-directory.ts';
import { Keeper, newKeyring, recoveredKeyring } from './keeper.ts';
import { holdsStore, isStoreFolder, needsCapacity, shareOfSpace } from './stores/store-place.ts';
import type { StoreSet } from './stores/store-set.ts';
import { isOfOtherCluster, noteState } from './stores/store-slot.ts';

/** Stores of a first run: what rs-4+2 needs. */
const FIRST_STORE_COUNT = 6;

const DEFAULT_VOLUME = 'default';

export interface StartOptions {
  readonly recoverKitText?: string | undefined;
  /** Stores of the first run or of the recovery; none: a first run without stores. */
  readonly storePaths?: readonly string[] | undefined;
  /** In a recovery: gives up stores that are not found, even if newer metadata may be on them. */
  readonly acceptsLoss?: boolean | undefined;
}

/** How this start differs from any other. */
export interface Start {
  readonly keeper: Keeper;
  readonly isFirstRun: boolean;
  readonly kit: RecoveryKit | undefined;
  /** What a recovery tells people that it could not bring back. */
  readonly notes: string[];
}

/** Reads the keys; makes them on a first run, takes them from the kit in a recovery. */
export async function openKeys(
  env: Env,
  data: DataDirectory,
  options: StartOptions,
): Promise<Start> {
  const known = await data.readKeyring();
  if (options.recoverKitText !== undefined) {
    if (known) {
      throw new HoldfastError(
        'HF_EXISTS',
        `${data.path} has its keys: start it without --recover, or recover into an empty directory`,
      );
    }
    const kit = decodeRecoveryKit(options.recoverKitText);
    const keeper = new Keeper(data, recoveredKeyring(env, kit));
    return { keeper, isFirstRun: false, kit, notes: [] };
  }
  if (known) {
    const keeper = new Keeper(data, known);
    return { keeper, isFirstRun: false, kit: undefined, notes: [] };
  }
  await refuseOrphans(data);
  const keyring = newKeyring(env);
  await data.writeKeyring(keyring);
  return { keeper: new Keeper(data, keyring), isFirstRun: true, kit: undefined, notes: [] };
}

/** Stores without keys are somebody's data: a first run must not pass them by. */
async function refuseOrphans({ path: dataPath, storesPath }: DataDirectory): Promise<void> {
  const orphans = await storeFoldersIn(storesPath);
  if (orphans.length === 0) return;
  throw new HoldfastError(
    'HF_WRONG_KEY',
    `${storesPath} holds ${orphans.length} stores, but ${dataPath} has no keys for them; ` +
      `recover with: holdfast up --recover KIT`,
  );
}

async function storeFoldersIn(folder: string): Promise<string[]> {
  const names = await fs.readdir(folder).catch(() => []);
  const folders = names.map((name) => path.join(folder, name));
  const areStores = await mapBounded(folders, FIRST_STORE_COUNT, isStoreFolder);
  return folders.filter((_, index) => areStores[index]).toSorted();
}

/** Opens the stores that this data directory knows, or those of a first run or a recovery. */
export async function openStores(
  about: { env: Env; stores: StoreSet; data: DataDirectory },
  { kit }: Start,
  options: StartOptions,
): Promise<void> {
  const { env, stores, data } = about;
  if (kit) return await attachFound(env, stores, await placesToRecover(about, kit, options));
  const known = await data.readStores();
  if (known) {
    await stores.openKnown(known);
    assertKeysFit(stores, data);
    return;
  }
  await makeStores(about, options.storePaths);
  await data.writeStores(stores.entries());
}

/** Writes down what was recovered, once it has opened: until then a recovery can be tried again. */
export async function finishRecovery(
  { stores, data }: { stores: StoreSet; data: DataDirectory },
  { keeper, kit }: Start,
): Promise<void> {
  if (!kit) return;
  await data.writeStores(stores.entries());
  await data.writeKitMark(kit.volumes.map(({ id }) => id));
  await keeper.save();
}

/** @throws HF_WRONG_KEY when all the stores are of another cluster. */
function assertKeysFit({ slots }: StoreSet, { path: dataPath }: DataDirectory): void {
  if (slots.length === 0 || !slots.every(({ isForeign }) => isForeign)) return;
  throw new HoldfastError(
    'HF_WRONG_KEY',
    `the keyring in ${dataPath} is of another cluster than its ${slots.length} stores; ` +
      'put the right one back, or recover with: holdfast up --recover KIT',
  );
}

async function makeStores(
  { env, stores, data: { storesPath } }: { env: Env; stores: StoreSet; data: DataDirectory },
  chosen: readonly string[] | undefined,
): Promise<void> {
  const names = Array.from({ length: FIRST_STORE_COUNT }, (_, index) =>
    path.join(storesPath, `disk-${index + 1}`),
  );
  const places = chosen ?? names;
  const shares = new Map<string, number | undefined>();
  for (const place of places) {
    const isSharing = await needsCapacity(place);
    shares.set(place, isSharing ? await shareOfSpace(place, places.length) : undefined);
  }
  for (const [place, capacityBytes] of shares) {
    // An interrupted first run left some of them.
    if (await holdsStore(env, place)) await attachAnew(stores, place);
    else await stores.create(place, { capacityBytes });
  }
}

/** A store that was on its way out was that of a node which is no more: it left, or was removed. */
async function attachAnew(stores: StoreSet, place: string): Promise<void> {
  const slot = await stores.attach(place);
  if (slot.state === 'in') return;
  await noteState(slot, 'in');
  stores.setState(slot.id, 'in');
}

/** Places named by the user, else the folders beside the data, and those that the kit remembers. */
async function placesToRecover(
  { env, data }: { env: Env; data: DataDirectory },
  kit: RecoveryKit,
  { storePaths = [] }: StartOptions,
): Promise<string[]> {
  if (storePaths.length > 0) return [...storePaths];
  const found = new Set(await storeFoldersIn(data.storesPath));
  for (const place of kit.storePaths) if (await holdsStore(env, place)) found.add(place);
  return [...found];
}

async function attachFound(
  { log }: Pick<Env, 'log'>,
  stores: StoreSet,
  folders: readonly string[],
): Promise<void> {
  const problems: unknown[] = [];
  for (const folder of folders) {
    await stores.attach(folder).catch((error) => {
      log.warn('a store cannot be recovered from', { path: folder, reason: errorMessage(error) });
      problems.push(error);
    });
  }
  if (stores.alive().length > 0) return;
  const [first] = problems;
  if (first === undefined) {
    const message = 'no stores found to recover from; name them with --store';
    throw new HoldfastError('HF_NOT_FOUND', message);
  }
  const count = problems.length;
  const areForeign = problems.every(isOfOtherCluster);
  throw new HoldfastError(
    areForeign ? 'HF_WRONG_KEY' : (errorCode(first) ?? 'HF_IO'),
    areForeign
      ? `the recovery kit is of another cluster than the ${count} stores`
      : `none of ${count} stores could be opened; the first: ${errorMessage(first)}`,
    { cause: first },
  );
}

/** The first volume, under the best scheme that the stores allow. */
export async function makeDefaultVolume({ volumes }: Core): Promise<void> {
  const known = await volumes.list();
  if (known.length > 0 || volumes.locked.length > 0) return;
  await volumes.create({ name: DEFAULT_VOLUME, isDeduplicating: true });
}
