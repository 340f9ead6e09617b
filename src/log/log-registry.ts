/**
 * A registry as one more cell of a fenced log: its entries are single changes. It holds the cell's
 * epoch; when another instance has taken over, or an outcome is in doubt, it seizes again and
 * reads.
 */
import { concatBytes, errorMessage, HoldfastError, LIMITS, Mutex } from '../base/index.ts';
import type { Log } from '../env/index.ts';
import {
  type CellId,
  type FencedLog,
  type Lsn,
  type Registry,
  type SealableLog,
  SNAPSHOT_PART_BYTES_MAX,
  type Versioned,
  storedEntryBytes,
} from './fenced-log.ts';
import type { NextGeneration, SealableRegistry } from './generations.ts';
import {
  decodeChange,
  encodeChange,
  type RegistryChange,
  RegistryState,
} from './registry-state.ts';

/** The cell is reserved: no other state machine may use it. */
export const REGISTRY_CELL: CellId = 'registry';

export interface LogRegistryOptions {
  /** Stays the caller's. */
  readonly log: SealableLog;
  readonly report: Pick<Log, 'warn'>;
  /** Bytes of entries before a snapshot is due. */
  readonly snapshotAfterBytes?: number;
}

/** The state as of entry `lsn`, and the right to append the next. */
interface Held {
  readonly epoch: number;
  readonly state: RegistryState;
  lsn: Lsn;
  bytesSinceSnapshot: number;
}

export class LogRegistry implements SealableRegistry {
  readonly #log: SealableLog;
  readonly #report: Pick<Log, 'warn'>;
  readonly #snapshotAfterBytes: number;
  readonly #mutex = new Mutex();
  #held: Held | undefined;

  private constructor(options: LogRegistryOptions) {
    this.#log = options.log;
    this.#report = options.report;
    this.#snapshotAfterBytes = options.snapshotAfterBytes ?? LIMITS.logBytesBeforeSnapshot;
  }

  static async open(options: LogRegistryOptions): Promise<LogRegistry> {
    const registry = new LogRegistry(options);
    await registry.#mutex.run(() => registry.#hold());
    return registry;
  }

  /** The state as it stands in the log, for looking at it before anything is written. */
  static async peek(log: FencedLog): Promise<Registry> {
    const { state } = await readState(log);
    return {
      get: async (key) => state.get(key),
      list: async (prefix) => state.list(prefix),
      async compareAndSet() {
        throw new HoldfastError('HF_UNSUPPORTED', 'the registry is only looked at');
      },
      async [Symbol.asyncDispose]() {},
    };
  }

  /** The newest state. Held under the mutex. */
  async #hold(): Promise<Held> {
    const held = this.#held;
    if (held && (await this.#log.confirm(REGISTRY_CELL, held.epoch))) return held;
    this.#held = undefined;
    const { epoch, lsn } = await this.#log.seize(REGISTRY_CELL);
    const read = await readState(this.#log);
    if (read.state.isSealed) await this.#log.stopAllBut(REGISTRY_CELL);
    return (this.#held = { epoch, lsn, ...read });
  }

  async get(key: string): Promise<Versioned | undefined> {
    return await this.#mutex.run(async () => (await this.#hold()).state.get(key));
  }

  async list(prefix: string): Promise<readonly Versioned[]> {
    return await this.#mutex.run(async () => (await this.#hold()).state.list(prefix));
  }

  async compareAndSet(
    key: string,
    expected: number,
    value: Uint8Array | undefined,
  ): Promise<number | undefined> {
    return await this.#mutex.run(async () => {
      const held = await this.#hold();
      const change = held.state.proposed({ key, value }, expected);
      return change && (await this.#make(change, held));
    });
  }

  async seal(next: NextGeneration): Promise<void> {
    await this.#mutex.run(async () => {
      const held = await this.#hold();
      const change = held.state.proposedSeal(next);
      if (!change) return;
      await this.#log.stopAllBut(REGISTRY_CELL);
      await this.#make(change, held);
    });
  }

  /** @returns the new version. */
  async #make(change: RegistryChange, held: Held): Promise<number> {
    await this.#append(held, encodeChange(change));
    const version = held.state.apply(change, held.epoch);
    await this.#saveSnapshotIfDue(held);
    return version;
  }

  /** @throws HF_FENCED when another instance has taken over, HF_UNKNOWN_OUTCOME. */
  async #append(held: Held, bytes: Uint8Array): Promise<void> {
    const position = { epoch: held.epoch, lsn: held.lsn + 1 };
    this.#held = undefined; // in doubt until acknowledged
    if ((await this.#log.append(REGISTRY_CELL, position, bytes)) === 'fenced') {
      throw new HoldfastError('HF_FENCED', 'another instance of the registry has taken over');
    }
    held.lsn += 1;
    held.bytesSinceSnapshot += storedEntryBytes(bytes.length);
    this.#held = held;
  }

  async #saveSnapshotIfDue(held: Held): Promise<void> {
    if (held.bytesSinceSnapshot <= this.#snapshotAfterBytes) return;
    held.bytesSinceSnapshot = 0;
    try {
      await this.#log.saveSnapshot(REGISTRY_CELL, held, registryParts(held.state));
      await this.#log.trim(REGISTRY_CELL, held.lsn);
    } catch (error) {
      // The change is durable all the same; the log is only longer than it should be.
      this.#report.warn('no snapshot of the registry was made', { reason: errorMessage(error) });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mutex.run(async () => {});
  }
}

async function readState(log: FencedLog): Promise<Pick<Held, 'state' | 'bytesSinceSnapshot'>> {
  const snapshot = await log.loadSnapshot(REGISTRY_CELL);
  const parts = snapshot ? await Array.fromAsync(snapshot.parts) : [];
  const state = snapshot ? RegistryState.decode(concatBytes(...parts)) : new RegistryState();
  let bytesSinceSnapshot = 0;
  for await (const { epoch, bytes } of log.read(REGISTRY_CELL, (snapshot?.lsn ?? 0) + 1)) {
    state.apply(decodeChange(bytes), epoch);
    bytesSinceSnapshot += storedEntryBytes(bytes.length);
  }
  return { state, bytesSinceSnapshot };
}

/** What a snapshot of the registry's cell says. */
export async function* registryParts(state: RegistryState): AsyncGenerator<Uint8Array> {
  const bytes = state.encode();
  for (let start = 0; start < bytes.length; start += SNAPSHOT_PART_BYTES_MAX) {
    yield bytes.subarray(start, start + SNAPSHOT_PART_BYTES_MAX);
  }
}
