/**
 * Makes the metadata of a cluster again that was in a ring, of which nothing is left: out of what
 * its stores have of it (log's pool-snapshots.ts), as the log of this node, of the next generation.
 * Each cell as of its newest snapshot; what came later is lost.
 *
 * As long as so many nodes' stores are here that one of them has whatever was acknowledged as
 * stored, older names are not taken for the newest. With fewer only who says so goes on: what newer
 * names name would be collected as litter.
 */
import {
  errorCode,
  errorMessage,
  HoldfastError,
  mapBounded,
  schemeOfNumber,
  type VolumeId,
} from '../../base/index.ts';
import { openCluster } from '../../cluster/index.ts';
import type { LocalDb } from '../../db/index.ts';
import {
  type CellId,
  LocalDraft,
  LocalLog,
  LogRegistry,
  type Lsn,
  type Mirror,
  newestLocalGeneration,
  type PoolSnapshot,
  PoolSnapshots,
  type Registry,
  REGISTRY_CELL,
  type RegistryCopy,
  registryIn,
  sealedTo,
} from '../../log/index.ts';
import {
  CellMaps,
  loadFromLog,
  loadWhole,
  mendNames,
  mendReferences,
  openVolumes,
  RecoveredSpace,
  REFERENCES_SPACE,
  spaceOfVolume,
} from '../../meta/index.ts';
import { stripeShape } from '../../stripes/index.ts';
import { RING_KEY } from '../ring/ring-record.ts';
import { homeRow, readHomeRecord } from './home-record.ts';
import type { LocalMetadataOptions } from './local-metadata.ts';
import { copiesMin, PoolParts } from './pool-parts.ts';
import { Quorum } from './quorum.ts';
import { StoreMirror } from './store-mirror.ts';

/** Above all versions that the registry may have had since it was copied. */
const VERSION_LEAP = 2 ** 40;

const LOST_NOTE =
  'names are as of the last snapshots before the ring was lost: what was put, renamed or removed ' +
  'in its last two minutes may not be there, or be there in part (holdfast health tells)';

export interface PoolRecoveryOptions extends LocalMetadataOptions {
  /** Goes on with fewer stores than are sure to have the newest names. */
  readonly acceptsLoss: boolean;
  /** Removes what {@link LocalMetadataOptions.openDb} has made. */
  readonly dropDb: (cell: string) => Promise<void>;
}

export interface PoolRecovery {
  /** Of the newest log that there is now. */
  readonly generation: number;
  /** For people: what was not brought back. */
  readonly notes: readonly string[];
}

/**
 * Where the stores know of no ring, or have a log of one node that is newer, there is nothing to
 * do: `LocalMetadata.open` recovers from that.
 * @throws HF_TOO_FEW_STORES when newer names may be on stores that are not here; HF_WRONG_KEY.
 */
export async function recoverFromPool(options: PoolRecoveryOptions): Promise<PoolRecovery> {
  const { env, metadataKey, stores, tolerance } = options;
  const parts = new PoolParts({
    stores,
    nodeOf: () => undefined,
    nodeCount: () => 1,
    tolerance,
  });
  const pool = new PoolSnapshots({ env, metadataKey, parts });
  const all = await pool.all();
  const registry = await newestRegistry(all);
  const mirror = mirrorOf(options);
  const local = (await newestLocalGeneration({ env, mirror, metadataKey })) ?? 1;
  if (!registry || local > registry.generation) return { generation: local, notes: [] };
  await using before = await logBefore(options, { mirror, local, next: registry.generation });
  return await new Recovering(options, { all, registry, before }).run(mirror);
}

interface FoundRegistry {
  readonly generation: number;
  readonly copy: RegistryCopy;
}

/** The newest that can be read, of the newest generation that has one. */
async function newestRegistry(all: readonly PoolSnapshot[]): Promise<FoundRegistry | undefined> {
  for (const snapshot of all.filter(({ cell }) => cell === REGISTRY_CELL)) {
    try {
      return { generation: snapshot.generation, copy: await registryIn(snapshot) };
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT') throw error;
    }
  }
  return undefined;
}

/** The log that was moved to the ring, while the stores have it: cells may have no snapshot yet. */
async function logBefore(
  { env, metadataKey }: PoolRecoveryOptions,
  {
    mirror,
    local,
    next,
  }: { readonly mirror: Mirror; readonly local: number; readonly next: number },
): Promise<LocalLog | undefined> {
  try {
    const log = await LocalLog.open({ env, mirror, metadataKey, generation: local });
    const seal = await sealedTo(await LogRegistry.peek(log));
    return seal?.generation === next ? log : undefined;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    env.log.info('the log before the ring cannot be read', { reason: errorMessage(error) });
    return undefined;
  }
}

function mirrorOf({ stores, devices, tolerance }: LocalMetadataOptions): StoreMirror {
  return new StoreMirror({ stores, tolerance, quorum: new Quorum(devices, tolerance) });
}

class Recovering {
  readonly #options: PoolRecoveryOptions;
  readonly #all: readonly PoolSnapshot[];
  readonly #found: FoundRegistry;
  readonly #registry: Registry;
  /** That was moved to the ring. */
  readonly #before: LocalLog | undefined;
  readonly #notes: string[] = [];
  /** Databases that were made on the way. */
  readonly #databases = new Map<string, LocalDb>();

  constructor(
    options: PoolRecoveryOptions,
    {
      all,
      registry,
      before,
    }: {
      readonly all: readonly PoolSnapshot[];
      readonly registry: FoundRegistry;
      readonly before: LocalLog | undefined;
    },
  ) {
    this.#options = options;
    this.#all = all.filter(({ generation }) => generation === registry.generation);
    this.#found = registry;
    this.#registry = lookingAt(registry.copy);
    this.#before = before;
  }

  async run(mirror: StoreMirror): Promise<PoolRecovery> {
    const { env, metadataKey } = this.#options;
    await this.#assertPresent();
    this.#notes.push(LOST_NOTE);
    const generation = this.#found.generation + 1;
    const draft = new LocalDraft({ env, mirror, metadataKey, generation });
    try {
      if (await draft.start()) await this.#fill(draft);
    } finally {
      await this.#forget();
    }
    return { generation, notes: this.#notes };
  }

  /** @throws HF_TOO_FEW_STORES. */
  async #assertPresent(): Promise<void> {
    const { env, nodeId: node, tolerance, stores, acceptsLoss } = this.#options;
    const cluster = await openCluster({ env, registry: this.#registry, node, tolerance });
    const here = new Set(stores().map(({ id }) => id));
    const members = cluster.topology().devices.filter(({ state }) => state !== 'out');
    const nodes = new Set(members.map(({ id }) => cluster.nodeOf(id)));
    const missing = members.filter(({ id }) => !here.has(id));
    const away = new Set(missing.map(({ id }) => cluster.nodeOf(id)));
    // Any but one of those that have a list may be missing.
    const awayMax = copiesMin(nodes.size, tolerance) - 1;
    if (away.size <= awayMax) return;
    const message =
      `${missing.length} stores of ${away.size} of ${nodes.size} nodes are not here, at most ` +
      `${awayMax} may be: newer names may be on them alone`;
    if (!acceptsLoss) {
      throw new HoldfastError('HF_TOO_FEW_STORES', `${message}; name them with --store`);
    }
    this.#notes.push(message);
  }

  async #fill(draft: LocalDraft): Promise<void> {
    const { env } = this.#options;
    const volumes = new Map<VolumeId, RecoveredSpace>();
    const references = await this.#space(REFERENCES_SPACE, 'the references of stripes');
    for (const { id, name } of await openVolumes(this.#registry).list()) {
      volumes.set(id, await this.#space(spaceOfVolume(id), `volume ${name}`));
    }
    const scratch = await this.#open('recovery');
    const chunkBytes = (number: number, contentBytes: number): number =>
      stripeShape(schemeOfNumber(number), contentBytes).chunkBytes;
    const addedCount = await mendReferences({ references, volumes, chunkBytes, scratch });
    env.log.info('the references were brought in line with the names', { addedCount });
    await copySpace(draft, REFERENCES_SPACE, {
      space: references,
      lsn: this.#lsn(REFERENCES_SPACE),
    });
    for (const [id, space] of volumes) {
      const cell = spaceOfVolume(id);
      await copySpace(draft, cell, { space, lsn: this.#lsn(cell) });
    }
    await draft.open(await this.#nextRegistry());
  }

  /** Lsns of a space go on from the highest. */
  #lsn(space: string): Lsn {
    const lsns = this.#all.filter(({ cell }) => isOf(space, cell)).map(({ lsn }) => lsn);
    return Math.max(1, ...lsns);
  }

  async #space(space: string, what: string): Promise<RecoveredSpace> {
    const { env, nodeId } = this.#options;
    const maps = new CellMaps({ env, registry: this.#registry, home: () => nodeId });
    const { cells } = await maps.of(space);
    const loaded = await mapBounded(cells, 1, async ({ cell }) => {
      const db = await this.#open(`recovery-${cell}`);
      const found = await this.#load(cell, db);
      if (found === 'before') this.#notes.push(`${what}: as it was when names moved to the ring`);
      if (!found) this.#notes.push(`of ${what} nothing was on the stores of what ${cell} had`);
      return { cell, db };
    });
    const recovered = await RecoveredSpace.open(loaded);
    const mendedCount =
      cells.length > 1 && space !== REFERENCES_SPACE ? await mendNames(recovered) : 0;
    if (mendedCount > 0) {
      this.#notes.push(`${what}: ${mendedCount} rows of changes that were half saved were mended`);
    }
    if (recovered.lostSlots > 0) {
      this.#notes.push(`of ${what} ${recovered.lostSlots} of 4096 slots were moving, and are lost`);
    }
    return recovered;
  }

  /** From the newest snapshot that can be read; where none was made yet, from the log before. */
  async #load(cell: CellId, db: LocalDb): Promise<'snapshot' | 'before' | undefined> {
    const { env } = this.#options;
    for (const snapshot of this.#all.filter((one) => one.cell === cell)) {
      try {
        await loadWhole(db, snapshot);
        return 'snapshot';
      } catch (error) {
        if (errorCode(error) !== 'HF_CORRUPT') throw error;
        const fields = { cell, lsn: snapshot.lsn, reason: errorMessage(error) };
        env.log.warn('a snapshot cannot be used', fields);
      }
    }
    const hasOwn = this.#all.some((one) => one.cell === cell);
    if (hasOwn || !this.#before) return undefined;
    const hasEntries = await loadFromLog({ env, cell, log: this.#before, db });
    return hasEntries ? 'before' : undefined;
  }

  /** The rows that hold on one node, which is home now. */
  async #nextRegistry(): Promise<RegistryCopy> {
    const { version, rows } = this.#found.copy;
    const before = await readHomeRecord(this.#registry);
    const home = { node: this.#options.nodeId, generation: (before?.generation ?? 0) + 1 };
    const next = homeRow(home);
    const isKept = (key: string): boolean =>
      key !== RING_KEY && key !== next.key && !/^cells[/-]/.test(key);
    return {
      version: version + VERSION_LEAP,
      rows: [
        ...rows.filter(({ key }) => isKept(key)),
        { ...next, version: version + VERSION_LEAP },
      ],
    };
  }

  async #open(name: string): Promise<LocalDb> {
    await this.#options.dropDb(name); // an earlier try may have left it
    const db = await this.#options.openDb(name);
    this.#databases.set(name, db);
    return db;
  }

  async #forget(): Promise<void> {
    for (const [name, db] of this.#databases) {
      await db[Symbol.asyncDispose]();
      await this.#options.dropDb(name);
    }
  }
}

function isOf(space: string, cell: CellId): boolean {
  return cell === space || cell.startsWith(`${space}-`);
}

async function copySpace(
  draft: LocalDraft,
  cell: CellId,
  { space, lsn }: { readonly space: RecoveredSpace; readonly lsn: Lsn },
): Promise<void> {
  await draft.copyCell(cell, { epoch: 1, snapshot: space.snapshot(lsn), entries: none() });
}

async function* none(): AsyncGenerator<never> {}

function lookingAt({ rows }: RegistryCopy): Registry {
  return {
    get: async (key) => rows.find((row) => row.key === key),
    list: async (prefix) => rows.filter(({ key }) => key.startsWith(prefix)),
    async compareAndSet() {
      throw new HoldfastError('HF_UNSUPPORTED', 'the registry is only looked at');
    },
    async [Symbol.asyncDispose]() {},
  };
}
