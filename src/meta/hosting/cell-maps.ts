/**
 * The cell maps of all spaces, as this node knows them: kept from the registry, and read again when
 * one key there says that some were changed, or when a cell answers that something is elsewhere.
 * What is kept may be old; the cells themselves know what they own.
 */
import { errorCode, errorMessage, HoldfastError, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry, Versioned } from '../../log/index.ts';
import {
  type CellPlace,
  CHANGES_KEY,
  decodeMap,
  encodeMap,
  loneCell,
  mapKey,
  placeOfCell,
  type SpaceMap,
  type VersionedMap,
} from './cell-map.ts';
import type { CellName } from './hosting-wire.ts';

/** Whoever changes a map may die before it says so: all are read after this without a word. */
const UNTOLD_MS = 30_000;

export interface CellMapsOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly registry: Registry;
  /** Who carries spaces without a record, as of the call. */
  readonly home: () => NodeId | undefined;
}

export class CellMaps {
  readonly #options: CellMapsOptions;
  readonly #known = new Map<string, VersionedMap>();
  /** Spaces that had no record when they were looked for. */
  readonly #unrecorded = new Set<string>();
  readonly #reading = new Map<string, Promise<VersionedMap>>();
  #hasAll = false;
  /** Of the key of changes, before all were read last; by the monotonic clock. */
  #allOf: { readonly version: number; readonly atMs: number } | undefined;

  constructor(options: CellMapsOptions) {
    this.#options = options;
  }

  /** Whether all were read once. */
  get hasAll(): boolean {
    return this.#hasAll;
  }

  /** Spaces with a record. */
  all(): readonly VersionedMap[] {
    return [...this.#known.values()];
  }

  /** What is known now. @throws HF_UNAVAILABLE when nobody knows who is home. */
  known(space: string): VersionedMap | undefined {
    const found = this.#known.get(space);
    if (found) return found;
    return this.#hasAll || this.#unrecorded.has(space) ? this.#lone(space) : undefined;
  }

  async of(space: string): Promise<VersionedMap> {
    return this.known(space) ?? (await this.refresh(space));
  }

  /** As {@link read}; who asks at the same time shares an answer, which may be a little older. */
  async refresh(space: string): Promise<VersionedMap> {
    const reading =
      this.#reading.get(space) ?? this.read(space).finally(() => this.#reading.delete(space));
    this.#reading.set(space, reading);
    return await reading;
  }

  /** As the registry has it now. */
  async read(space: string): Promise<VersionedMap> {
    const found = await this.#options.registry.get(mapKey(space));
    if (!found) {
      this.#unrecorded.add(space);
      return this.#known.get(space) ?? this.#lone(space);
    }
    return this.#keep(decodedAt(found));
  }

  /** Rises with each change of a map. */
  async changes(): Promise<number> {
    return (await this.#options.registry.get(CHANGES_KEY))?.version ?? 0;
  }

  /** Reads all maps when some were changed by then, or when nothing has been said for long. */
  async refreshTo(version: number): Promise<void> {
    const { clock } = this.#options.env;
    const atMs = clock.monotonic();
    const isKnown = this.#allOf?.version === version && atMs - this.#allOf.atMs < UNTOLD_MS;
    if (isKnown) return;
    await this.refreshAll();
    this.#allOf = { version, atMs };
  }

  /** A record that cannot be read keeps nobody from the others. */
  async refreshAll(): Promise<void> {
    const { registry, env } = this.#options;
    for (const found of await registry.list(mapKey())) {
      try {
        this.#keep(decodedAt(found));
      } catch (error) {
        if (errorCode(error) !== 'HF_CORRUPT') throw error;
        env.log.warn('a cell map cannot be read', { key: found.key, reason: errorMessage(error) });
      }
    }
    this.#hasAll = true;
  }

  /** Where a cell is, as far as it is known. */
  find({ space, cell }: CellName): { map: VersionedMap; place: CellPlace } | undefined {
    if (!this.#known.has(space) && this.#options.home() === undefined) return undefined;
    const map = this.known(space);
    const place = map && placeOfCell(map, cell);
    return map && place ? { map, place } : undefined;
  }

  /**
   * Puts `next` in the place of `before`.
   * @returns whether it was that which stood there.
   */
  async replace(before: VersionedMap, next: SpaceMap): Promise<boolean> {
    const { registry } = this.#options;
    const key = mapKey(before.space);
    try {
      const version = await registry.compareAndSet(key, before.version, encodeMap(next));
      if (version !== undefined) {
        this.#keep({ ...next, version });
        await this.#tell();
      } else await this.read(before.space);
      return version !== undefined;
    } catch (error) {
      if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
      await this.#tell();
      await this.read(before.space);
      return false;
    }
  }

  /** Who cannot set the key was overtaken by another, after the change that it was to tell of. */
  async #tell(): Promise<void> {
    const { registry, env } = this.#options;
    try {
      const before = (await registry.get(CHANGES_KEY))?.version ?? 0;
      await registry.compareAndSet(CHANGES_KEY, before, Uint8Array.of(1));
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('a changed cell map is found later', { reason: errorMessage(error) });
    }
  }

  #keep(map: VersionedMap): VersionedMap {
    const before = this.#known.get(map.space);
    if (before && before.version > map.version) return before;
    this.#known.set(map.space, map);
    return map;
  }

  #lone(space: string): VersionedMap {
    const home = this.#options.home();
    if (home === undefined) {
      throw new HoldfastError('HF_UNAVAILABLE', 'it is not known which node carries the metadata');
    }
    return { ...loneCell(space, [home]), version: 0 };
  }
}

/** @throws HF_CORRUPT. */
function decodedAt({ key, value, version }: Versioned): VersionedMap {
  const map = decodeMap(value);
  if (mapKey(map.space) === key) return { ...map, version };
  throw new HoldfastError('HF_CORRUPT', `the cell map of ${map.space} is in the place of another`);
}
