/**
 * A generation of the engine `memory` that is being made; log and registry are one step away. All
 * who make it share the one {@link MemoryGeneration}, and each has a draft of its own.
 */
import { HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { CellId } from './fenced-log.ts';
import type { CellCopy, GenerationDraft, RegistryCopy } from './generations.ts';
import { MemoryLog } from './memory-log.ts';
import { MemoryRegistry } from './memory-registry.ts';
import type { MemoryFaults } from './memory-wire.ts';

export interface MemoryGenerationOptions {
  readonly generation: number;
  readonly env?: Pick<Env, 'clock' | 'random'>;
  readonly faults?: MemoryFaults;
}

export class MemoryGeneration {
  readonly generation: number;
  readonly log: MemoryLog;
  readonly registry: MemoryRegistry;
  isOpen = false;
  /** Who started it last. */
  maker: MemoryDraft | undefined;

  constructor({ generation, ...wire }: MemoryGenerationOptions) {
    this.generation = generation;
    this.log = new MemoryLog(wire);
    this.registry = new MemoryRegistry({ ...wire, log: this.log });
  }
}

export class MemoryDraft implements GenerationDraft {
  readonly #made: MemoryGeneration;

  constructor(made: MemoryGeneration) {
    this.#made = made;
  }

  get generation(): number {
    return this.#made.generation;
  }

  async start(): Promise<boolean> {
    if (this.#made.isOpen) return false;
    this.#made.maker = this;
    this.#made.log.clear();
    return true;
  }

  async copyCell(cell: CellId, copy: CellCopy): Promise<void> {
    await this.#made.log.adopt(cell, copy, () => this.#throwIfTaken());
  }

  async open(registry: RegistryCopy): Promise<void> {
    this.#throwIfTaken();
    this.#made.registry.fill(registry);
    this.#made.isOpen = true;
  }

  #throwIfTaken(): void {
    if (this.#made.maker === this && !this.#made.isOpen) return;
    const message = `generation ${this.generation} is being made by somebody else`;
    throw new HoldfastError('HF_FENCED', message);
  }
}
