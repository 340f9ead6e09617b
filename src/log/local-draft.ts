/**
 * A generation of the engine `local` that is being made. One process has the stores, so nobody else
 * makes it at the same time; its registry is copied last, and opens it.
 */
import { assert } from '../base/index.ts';
import { LocalCell, type LocalLogShared } from './local-cell.ts';
import type { CellId } from './fenced-log.ts';
import type { CellCopy, GenerationDraft, RegistryCopy } from './generations.ts';
import { isOpen, type LocalLogOptions, readRecords, sharedOf } from './local-log.ts';
import { NEW_CELL } from './local-recovery.ts';
import { REGISTRY_CELL, registryParts } from './log-registry.ts';
import { RegistryState } from './registry-state.ts';

export class LocalDraft implements GenerationDraft {
  readonly generation: number;
  readonly #shared: LocalLogShared;

  /** The same options as for opening it then. */
  constructor(options: LocalLogOptions) {
    this.generation = options.generation;
    this.#shared = sharedOf(options);
  }

  async start(): Promise<boolean> {
    const records = await readRecords(this.#shared);
    if (isOpen(records, this.generation)) return false;
    const cells = records.get(this.generation)?.values() ?? [];
    const refs = [...cells].flat().map(({ ref }) => ref);
    if (refs.length > 0) await this.#shared.mirror.remove(refs);
    return true;
  }

  async copyCell(cell: CellId, copy: CellCopy): Promise<void> {
    assert(cell !== REGISTRY_CELL, 'the registry is copied last');
    await this.#adopt(cell, copy);
  }

  async #adopt(cell: CellId, copy: CellCopy): Promise<void> {
    await new LocalCell(cell, NEW_CELL, this.#shared).adopt(copy);
  }

  async open(registry: RegistryCopy): Promise<void> {
    const snapshot = { lsn: 1, parts: registryParts(RegistryState.of(registry)) };
    await this.#adopt(REGISTRY_CELL, { epoch: 1, snapshot, entries: none() });
  }
}

async function* none(): AsyncGenerator<never> {}
