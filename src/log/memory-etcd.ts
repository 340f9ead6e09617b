/**
 * A simulated etcd: one ordered store of keys that many clients reach over a bad network. What the
 * engine `etcd` does runs on it unchanged. It models what a ring of etcds shows its clients:
 * linearizable transactions whose requests overtake each other, arrive long after their caller has
 * given up, or lose their answers; partitions and restarts. Each condition that the engine relies
 * on can be left unchecked, so that a suite or a simulation proves that it would notice.
 */
import { asBuffer, HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { EtcdKv } from './etcd-kv.ts';
import type {
  EtcdAnswer,
  EtcdCondition,
  EtcdOperation,
  EtcdRange,
  EtcdResult,
  EtcdRow,
  EtcdTransaction,
} from './etcd-messages.ts';
import { type MemoryFaults, MemoryWire } from './memory-wire.ts';

/** Read at each use, so that a simulation may change them as it runs. */
export interface MemoryEtcdFaults extends MemoryFaults {
  /** Of a hundred requests, how many arrive when their caller has given up long ago. */
  readonly latePercent?: number;
  /** How much later, at most. */
  readonly lateMsMax?: number;
}

/** Bugs planted on purpose. */
export interface MemoryEtcdBugs {
  /** Whoever held an epoch may go on. */
  readonly isFenceUnchecked?: boolean;
  /** What a change requires to be there may be missing. */
  readonly isPredecessorUnchecked?: boolean;
}

export interface MemoryEtcdOptions {
  readonly env: Pick<Env, 'clock' | 'random'>;
  readonly faults?: MemoryEtcdFaults;
  readonly bugs?: MemoryEtcdBugs;
}

const NOTHING: EtcdAnswer = { rows: [], count: 0 };

export class MemoryEtcd {
  readonly #options: MemoryEtcdOptions;
  /** By their keys' bytes, as latin1. */
  readonly #rows = new Map<string, EtcdRow>();
  /** The last change of each key, deletions too. */
  readonly #changes = new Map<string, number>();
  readonly #watchers = new Set<() => void>();
  #revision = 1;
  /** It keeps its rows and answers nobody. */
  isDown = false;

  constructor(options: MemoryEtcdOptions) {
    this.#options = options;
  }

  /** Each client can be cut off by itself. */
  connect(): MemoryEtcdClient {
    return new MemoryEtcdClient(this, this.#options);
  }

  /** All keys, in order. */
  get keys(): string[] {
    return [...this.#rows.keys()].sort();
  }

  /** One step. */
  apply({ conditions, ifMet, ifNot }: EtcdTransaction): EtcdResult {
    const areMet = conditions.every((condition) => this.#holds(condition));
    const revision = this.#revision + 1;
    const answers = (areMet ? ifMet : ifNot).map((operation) => this.#run(operation, revision));
    for (const wake of this.#watchers) wake();
    return { areMet, revision: this.#revision, answers };
  }

  #holds({ key, revision, is, than }: EtcdCondition): boolean {
    const { bugs = {} } = this.#options;
    const row = this.#rows.get(textOf(key));
    const actual = (revision === 'created' ? row?.createdRevision : row?.changedRevision) ?? 0;
    if (is === 'greater') return actual > than || bugs.isPredecessorUnchecked === true;
    return actual === than || (revision === 'changed' && bugs.isFenceUnchecked === true);
  }

  /** All changes of a transaction get the same revision. */
  #run(operation: EtcdOperation, revision: number): EtcdAnswer {
    if (operation.do === 'put') {
      const { key, value } = operation;
      const createdRevision = this.#rows.get(textOf(key))?.createdRevision ?? revision;
      const row = { key, value: new Uint8Array(value), createdRevision, changedRevision: revision };
      this.#rows.set(textOf(key), row);
      this.#changed(textOf(key), revision);
      return NOTHING;
    }
    const found = this.#inRange(operation);
    if (operation.do === 'count') return { rows: [], count: found.length };
    if (operation.do === 'get') {
      if (operation.atRevision && operation.atRevision !== this.#revision) {
        throw new HoldfastError('HF_NOT_FOUND', 'nothing of the past is kept');
      }
      const rows = found.slice(0, operation.limit || found.length);
      return { rows, count: found.length };
    }
    for (const { key } of found) {
      this.#rows.delete(textOf(key));
      this.#changed(textOf(key), revision);
    }
    return NOTHING;
  }

  #changed(key: string, revision: number): void {
    this.#revision = revision;
    this.#changes.set(key, revision);
  }

  #inRange(range: EtcdRange): EtcdRow[] {
    if (!range.end) return [this.#rows.get(textOf(range.key))].filter((row) => row !== undefined);
    return this.keys.filter((key) => isWithin(key, range)).map((key) => this.#rows.get(key)!);
  }

  /** Resolves when something in the range was changed after `since`, or when told to stop. */
  async change(range: EtcdRange, since: number, signal: AbortSignal): Promise<void> {
    const hasNews = (): boolean =>
      [...this.#changes].some(([key, at]) => at > since && isWithin(key, range));
    while (!hasNews() && !signal.aborted && !this.isDown) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#watchers.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#watchers.add(wake);
        signal.addEventListener('abort', wake);
      });
    }
  }
}

export class MemoryEtcdClient implements EtcdKv {
  readonly #etcd: MemoryEtcd;
  readonly #options: MemoryEtcdOptions;
  readonly #wire: MemoryWire;
  /** Nothing gets through, either way. */
  isCutOff = false;

  constructor(etcd: MemoryEtcd, options: MemoryEtcdOptions) {
    this.#etcd = etcd;
    this.#options = options;
    this.#wire = new MemoryWire(options.env, options.faults);
  }

  async transact(transaction: EtcdTransaction): Promise<EtcdResult> {
    const { env, faults = {} } = this.#options;
    if (this.#etcd.isDown) throw new HoldfastError('HF_UNAVAILABLE', 'etcd is down');
    if (env.random.below(100) < (faults.latePercent ?? 0)) {
      void this.#applyLate(transaction);
      throw new HoldfastError('HF_UNKNOWN_OUTCOME', 'no answer in time');
    }
    const result = await this.#wire.change(() => {
      this.#throwIfCutOff();
      return this.#etcd.apply(transaction);
    });
    this.#throwIfCutOff();
    return result;
  }

  #throwIfCutOff(): void {
    if (!this.isCutOff && !this.#etcd.isDown) return;
    throw new HoldfastError('HF_UNKNOWN_OUTCOME', 'no answer in time');
  }

  async #applyLate(transaction: EtcdTransaction): Promise<void> {
    const { env, faults } = this.#options;
    await env.clock.sleep(env.random.below((faults?.lateMsMax ?? 0) + 1));
    try {
      this.#etcd.apply(transaction);
    } catch {
      // It read of the past; there is nobody to tell.
    }
  }

  async change(range: EtcdRange, since: number, signal: AbortSignal): Promise<void> {
    if (!this.isCutOff) await this.#etcd.change(range, since, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function textOf(key: Uint8Array): string {
  return asBuffer(key).toString('latin1');
}

function isWithin(key: string, range: EtcdRange): boolean {
  const from = textOf(range.key);
  return range.end ? key >= from && key < textOf(range.end) : key === from;
}
