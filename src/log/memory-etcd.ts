/**
 * A simulated etcd: one ordered store of keys that many clients reach over a bad network. What the
 * engine `etcd` does runs on it unchanged. It models what a ring of etcds shows its clients:
 * linearizable transactions whose requests overtake each other, arrive long after their caller has
 * given up, or lose their answers; partitions and restarts. Each condition that the engine relies
 * on can be left unchecked, so that a suite or a simulation proves that it would notice.
 */
import { assert, HoldfastError, keyText } from '../base/index.ts';
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
  /** What a change requires not to be there may be there: a seal, too. */
  readonly isAbsenceUnchecked?: boolean;
}

export interface MemoryEtcdOptions {
  readonly env: Pick<Env, 'clock' | 'random'>;
  readonly faults?: MemoryEtcdFaults;
  readonly bugs?: MemoryEtcdBugs;
}

export interface MemoryEtcdPast {
  readonly rows: ReadonlyMap<string, EtcdRow>;
  readonly keys: readonly string[];
  readonly revision: number;
}

/** Of which a watcher can be told. */
const KEPT_CHANGES = 1000;

const NOTHING: EtcdAnswer = { rows: [], count: 0 };

export class MemoryEtcd {
  readonly #options: MemoryEtcdOptions;
  /** By their keys' bytes, as latin1. */
  #rows = new Map<string, EtcdRow>();
  /** Of the rows, sorted. */
  #keys: string[] = [];
  /** The newest changes, deletions too; oldest first. */
  #changes: { readonly key: string; readonly revision: number }[] = [];
  /** Changes up to this revision are forgotten. */
  #forgotten = 0;
  readonly #watchers = new Set<() => void>();
  #revision = 1;
  /** It keeps its rows and answers nobody. */
  isDown = false;
  /** Its quota is reached: it takes no puts. */
  isFull = false;

  constructor(options: MemoryEtcdOptions) {
    this.#options = options;
  }

  /** Each client can be cut off by itself. */
  connect(): MemoryEtcdClient {
    return new MemoryEtcdClient(this, this.#options);
  }

  /** All keys, in order. */
  get keys(): readonly string[] {
    return this.#keys;
  }

  /** All that a member has now. */
  save(): MemoryEtcdPast {
    return { rows: new Map(this.#rows), keys: [...this.#keys], revision: this.#revision };
  }

  /** Only what a member had is left, as when a ring is restored: revisions go back with it. */
  restore({ rows, keys, revision }: MemoryEtcdPast): void {
    this.#rows = new Map(rows);
    this.#keys = [...keys];
    this.#revision = revision;
    this.#changes = [];
    this.#forgotten = revision;
    for (const wake of this.#watchers) wake();
  }

  /** One step. */
  apply({ conditions, ifMet, ifNot }: EtcdTransaction): EtcdResult {
    const areMet = conditions.every((condition) => this.#holds(condition));
    const operations = areMet ? ifMet : ifNot;
    if (this.isFull && operations.some((operation) => operation.do === 'put')) {
      throw new HoldfastError('HF_NO_SPACE', 'etcd is full');
    }
    assertDistinct(operations);
    const revision = this.#revision + 1;
    const answers = operations.map((operation) => this.#run(operation, revision));
    for (const wake of this.#watchers) wake();
    return { areMet, revision: this.#revision, answers };
  }

  #holds({ key, revision, is, than }: EtcdCondition): boolean {
    const { bugs = {} } = this.#options;
    const row = this.#rows.get(keyText(key));
    const actual = (revision === 'created' ? row?.createdRevision : row?.changedRevision) ?? 0;
    if (is === 'greater') return actual > than || bugs.isPredecessorUnchecked === true;
    if (revision === 'changed') return actual === than || bugs.isFenceUnchecked === true;
    return actual === than || bugs.isAbsenceUnchecked === true;
  }

  /** All changes of a transaction get the same revision. */
  #run(operation: EtcdOperation, revision: number): EtcdAnswer {
    if (operation.do === 'put') {
      const { key, value } = operation;
      const text = keyText(key);
      const before = this.#rows.get(text);
      if (!before) this.#keys.splice(this.#indexOf(text), 0, text);
      const createdRevision = before?.createdRevision ?? revision;
      const row = { key, value: new Uint8Array(value), createdRevision, changedRevision: revision };
      this.#rows.set(text, row);
      this.#changed(text, revision);
      return NOTHING;
    }
    const { from, to } = this.#bounds(operation);
    if (operation.do === 'count') return { rows: [], count: to - from };
    if (operation.do === 'get') {
      if (operation.atRevision && operation.atRevision !== this.#revision) {
        throw new HoldfastError('HF_NOT_FOUND', 'nothing of the past is kept');
      }
      const end = Math.min(to, from + (operation.limit || to));
      const rows = this.#keys.slice(from, end).map((key) => this.#rows.get(key)!);
      return { rows, count: to - from };
    }
    for (const key of this.#keys.splice(from, to - from)) {
      this.#rows.delete(key);
      this.#changed(key, revision);
    }
    return NOTHING;
  }

  /** The range's place among the keys. */
  #bounds({ key, end }: EtcdRange): { from: number; to: number } {
    const text = keyText(key);
    const from = this.#indexOf(text);
    if (end) return { from, to: Math.max(from, this.#indexOf(keyText(end))) };
    return { from, to: from + (this.#rows.has(text) ? 1 : 0) };
  }

  /** Of the first key that is not below. */
  #indexOf(key: string): number {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #changed(key: string, revision: number): void {
    this.#revision = revision;
    this.#changes.push({ key, revision });
    if (this.#changes.length <= 2 * KEPT_CHANGES) return;
    this.#forgotten = this.#changes[KEPT_CHANGES]!.revision;
    this.#changes = this.#changes.slice(KEPT_CHANGES + 1);
  }

  #hasNews(range: EtcdRange, since: number): boolean {
    if (since < this.#forgotten) return true;
    for (let index = this.#changes.length - 1; index >= 0; index--) {
      const { key, revision } = this.#changes[index]!;
      if (revision <= since) return false;
      if (isWithin(key, range)) return true;
    }
    return false;
  }

  /** Resolves when something in the range was changed after `since`, or when told to stop. */
  async change(range: EtcdRange, since: number, signal: AbortSignal): Promise<void> {
    while (!this.#hasNews(range, since) && !signal.aborted && !this.isDown) {
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

/** A key is changed once in a transaction: etcd refuses others. */
function assertDistinct(operations: readonly EtcdOperation[]): void {
  if (operations.length === 1) return;
  const put = new Set<string>();
  for (const operation of operations) {
    if (operation.do !== 'put') continue;
    assert(!put.has(keyText(operation.key)), 'a key is put once');
    put.add(keyText(operation.key));
  }
  for (const operation of operations) {
    if (operation.do !== 'delete') continue;
    for (const key of put) assert(!isWithin(key, operation), 'a key is put or deleted');
  }
}

function isWithin(key: string, range: EtcdRange): boolean {
  const from = keyText(range.key);
  return range.end ? key >= from && key < keyText(range.end) : key === from;
}
