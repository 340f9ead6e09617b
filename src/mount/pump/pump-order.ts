/** What the thread of `pump-worker.ts` is told. */
import type { PumpMemory } from './pump-memory.ts';

export interface PumpOrder {
  /** /dev/fuse, mounted; it stays with whoever answers. */
  readonly descriptor: number;
  readonly shared: PumpMemory['shared'];
}
