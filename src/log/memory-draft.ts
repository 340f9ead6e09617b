/** A generation of the engine `memory` that is being made; log and registry are one step away. */
import type { Env } from '../env/index.ts';
import type { CellId } from './fenced-log.ts';
import type { CellCopy, GenerationDraft, RegistryCopy } from './generations.ts';
import { MemoryLog } from './memory-log.ts';
import { MemoryRegistry } from './memory-registry.ts';
import type { MemoryFaults } from './memory-wire.ts';

export interface MemoryDraftOptions {
  readonly generation: number;
  readonly env?: Pick<Env, 'clock' | 'random'>;
  readonly faults?: MemoryFaults;
}

export class MemoryDraft implements GenerationDraft {
  readonly generation: number;
  readonly log: MemoryLog;
  readonly registry: MemoryRegistry;
  isOpen = false;

  constructor({ generation, ...wire }: MemoryDraftOptions) {
    this.generation = generation;
    this.log = new MemoryLog(wire);
    this.registry = new MemoryRegistry({ ...wire, log: this.log });
  }

  async start(): Promise<boolean> {
    if (!this.isOpen) this.log.clear();
    return !this.isOpen;
  }

  async copyCell(cell: CellId, copy: CellCopy): Promise<void> {
    await this.log.adopt(cell, copy);
  }

  async open(registry: RegistryCopy): Promise<void> {
    this.registry.fill(registry);
    this.isOpen = true;
  }
}
