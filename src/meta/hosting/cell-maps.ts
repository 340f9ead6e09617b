/**
 * The cell maps of all spaces, as this node knows them: kept from the registry, read again now and
 * then, and whenever a cell answers that something is elsewhere. What is kept may be old; the cells
 * themselves know what they own.
 */
import { errorCode, HoldfastError, type NodeId } from '../../base/index.ts';
import type { Registry } from '../../log/index.ts';
import {
  type CellPlace,
  decodeMap,
  encodeMap,
  loneCell,
  mapKey,
  placeOfCell,
  type SpaceMap,
  type VersionedMap,
} from './cell-map.ts';
import type { CellName } from './hosting-wire.ts';

export interface CellMapsOptions {
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

  constructor(options: CellMapsOptions) {
    this.#options = options;
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
    return this.#keep({ ...decodeMap(found.value), version: found.version });
  }

  async refreshAll(): Promise<void> {
    for (const { value, version } of await this.#options.registry.list(mapKey())) {
      this.#keep({ ...decodeMap(value), version });
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
      if (version !== undefined) this.#keep({ ...next, version });
      else await this.read(before.space);
      return version !== undefined;
    } catch (error) {
      if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
      await this.read(before.space);
      return false;
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
