/**
 * The log that all machines share, and how one life of a machine reaches it: not once it is dead,
 * and not while it is paused. `memory` is as quick as can be; `etcd` runs the engine that ships,
 * over a simulated etcd, with what it gets late, twice and out of order. It may be changed once:
 * the first generation is sealed, and the next one opened with all that it had (ruling 17).
 */
import {
  type CellId,
  changeEngine,
  EtcdDraft,
  EtcdLog,
  type EtcdKv,
  type EtcdLogOptions,
  EtcdRegistry,
  type FencedLog,
  type GenerationDraft,
  MemoryDraft,
  MemoryEtcd,
  MemoryGeneration,
  MemoryLog,
  MemoryRegistry,
  PLAIN_RECORDS,
  type SealableRegistry,
} from '../../src/log/index.ts';
import { MemoryMirror } from '../../test/suites/memory-mirror.ts';
import type { LogRates } from './plan.ts';
import type { PlantName } from './planting.ts';
import type { Life } from './time.ts';

export type EngineName = 'memory' | 'etcd';

export interface EngineOptions {
  readonly engine: EngineName;
  /** What it may be changed to. */
  readonly nextEngine: EngineName;
  readonly rates: LogRates;
  /** Whose clock and chance the way to the log has. */
  readonly life: Life;
  readonly plant: PlantName | undefined;
  /** Then nothing goes wrong any more. */
  readonly isCalm: () => boolean;
}

/** One generation of the log, as each life reaches it. */
interface Generation {
  logOf(life: Life): FencedLog;
  registryOf(life: Life): SealableRegistry;
}

interface NextGeneration extends Generation {
  draftOf(life: Life): GenerationDraft;
}

export class Engine {
  readonly #first: Generation;
  readonly #next: NextGeneration;
  #hasBegun = false;
  /** Somebody has heard that the next generation is open. */
  #isChanged = false;

  constructor(options: EngineOptions) {
    const faults = faultsOf(options);
    const { engine, nextEngine } = options;
    this.#first = engine === 'memory' ? memory(options, faults) : etcd(options, faults, 1);
    this.#next = nextEngine === 'memory' ? memoryDraft(options, faults) : etcd(options, faults, 2);
  }

  get isHalfChanged(): boolean {
    return this.#hasBegun && !this.#isChanged;
  }

  /** Whoever seizes a cell, or looks at its end, finds the generation that is open by then. */
  logOf(life: Life): FencedLog {
    const logs = [this.#first.logOf(life), this.#next.logOf(life)] as const;
    const known = new Map<CellId, FencedLog>();
    const newest = (cell: CellId): FencedLog => {
      const log = this.#isChanged ? logs[1] : logs[0];
      known.set(cell, log);
      return log;
    };
    return switched(logs[0].entryBytesTarget, newest, (cell) => known.get(cell) ?? newest(cell));
  }

  /** May be broken off anywhere, and begun again by anybody, also at the same time. */
  async change(life: Life, cells: readonly CellId[]): Promise<void> {
    this.#hasBegun = true;
    await changeEngine({
      from: { log: this.#first.logOf(life), registry: this.#first.registryOf(life) },
      to: this.#next.draftOf(life),
      where: 'next',
      cells: async () => cells,
    });
    this.#isChanged = true;
  }
}

function memory({ life, plant }: EngineOptions, faults: Faults): Generation {
  const bugs = {
    isFenceUnchecked: plant === 'no-fence',
    isPredecessorUnchecked: plant === 'no-predecessor',
  };
  const log = new MemoryLog({ env: life.env, faults, bugs });
  const sealed = plant === 'no-seal' ? {} : { log };
  const registry = new MemoryRegistry({ env: life.env, faults, ...sealed });
  return {
    logOf: (each) => guardedLog(log, each),
    registryOf: (each) => guardedRegistry(registry, each),
  };
}

function memoryDraft({ life }: EngineOptions, faults: Faults): NextGeneration {
  const next = new MemoryGeneration({ generation: 2, env: life.env, faults });
  return {
    logOf: (each) => guardedLog(next.log, each),
    registryOf: (each) => guardedRegistry(next.registry, each),
    draftOf: (each) => guardedDraft(new MemoryDraft(next), each),
  };
}

function etcd({ life, plant }: EngineOptions, faults: Faults, generation: number): NextGeneration {
  const bugs = {
    isFenceUnchecked: plant === 'no-fence',
    isAbsenceUnchecked: plant === 'no-seal',
  };
  const store = new MemoryEtcd({ env: life.env, faults, bugs });
  const parts = new MemoryMirror();
  const placeOf = (each: Life): EtcdLogOptions => ({
    kv: guardedKv(store.connect(), each),
    prefix: `generation-${generation}/`,
    metadataKey: new Uint8Array(32),
    generation,
    env: each.env,
    parts,
    sealing: PLAIN_RECORDS,
  });
  return {
    logOf: (each) => new EtcdLog(placeOf(each)),
    registryOf: (each) => new EtcdRegistry(placeOf(each)),
    draftOf: (each) => new EtcdDraft(placeOf(each)),
  };
}

type Faults = Partial<LogRates>;

/** Read at each use. */
function faultsOf({ rates, isCalm }: EngineOptions): Faults {
  return {
    delayMsMax: rates.delayMsMax,
    get overtakingPercent(): number {
      return isCalm() ? 0 : rates.overtakingPercent;
    },
    get lostRequestPercent(): number {
      return isCalm() ? 0 : rates.lostRequestPercent;
    },
    get lostReplyPercent(): number {
      return isCalm() ? 0 : rates.lostReplyPercent;
    },
    get latePercent(): number {
      return isCalm() ? 0 : rates.latePercent;
    },
    lateMsMax: rates.lateMsMax,
  };
}

/** A dead machine asks nothing; what it had asked is done, and nobody hears of it. */
function ask<Result>(life: Life, work: () => Promise<Result>): Promise<Result> {
  return life.isOver ? new Promise(() => {}) : life.hears(work());
}

/** @param newest asked where the state of a cell is looked at anew; `known` otherwise. */
function switched(
  entryBytesTarget: number,
  newest: (cell: CellId) => FencedLog,
  known: (cell: CellId) => FencedLog,
): FencedLog {
  return {
    entryBytesTarget,
    head: (cell) => newest(cell).head(cell),
    seize: (cell) => newest(cell).seize(cell),
    append: (cell, position, bytes) => known(cell).append(cell, position, bytes),
    confirm: (cell, epoch) => known(cell).confirm(cell, epoch),
    read: (cell, from) => known(cell).read(cell, from),
    trim: (cell, upTo) => known(cell).trim(cell, upTo),
    saveSnapshot: (cell, position, parts, options) =>
      known(cell).saveSnapshot(cell, position, parts, options),
    loadSnapshot: (cell) => known(cell).loadSnapshot(cell),
    async [Symbol.asyncDispose]() {},
  };
}

function guardedRegistry(registry: SealableRegistry, life: Life): SealableRegistry {
  return {
    get: (key) => ask(life, () => registry.get(key)),
    list: (prefix) => ask(life, () => registry.list(prefix)),
    compareAndSet: (key, expected, value) =>
      ask(life, () => registry.compareAndSet(key, expected, value)),
    seal: (next) => ask(life, () => registry.seal(next)),
    async [Symbol.asyncDispose]() {},
  };
}

function guardedLog(log: FencedLog, life: Life): FencedLog {
  return {
    entryBytesTarget: log.entryBytesTarget,
    head: (cell) => ask(life, () => log.head(cell)),
    seize: (cell) => ask(life, () => log.seize(cell)),
    append: (cell, position, bytes) => ask(life, () => log.append(cell, position, bytes)),
    confirm: (cell, epoch) => ask(life, () => log.confirm(cell, epoch)),
    async *read(cell, from) {
      const entries = log.read(cell, from)[Symbol.asyncIterator]();
      for (;;) {
        const next = await ask(life, () => entries.next());
        if (next.done) return;
        yield next.value;
      }
    },
    trim: (cell, upTo) => ask(life, () => log.trim(cell, upTo)),
    saveSnapshot: (cell, position, parts, options) =>
      ask(life, () => log.saveSnapshot(cell, position, parts, options)),
    loadSnapshot: (cell) => ask(life, () => log.loadSnapshot(cell)),
    async [Symbol.asyncDispose]() {},
  };
}

function guardedDraft(draft: GenerationDraft, life: Life): GenerationDraft {
  return {
    generation: draft.generation,
    start: () => ask(life, () => draft.start()),
    copyCell: (cell, copy) => ask(life, () => draft.copyCell(cell, copy)),
    open: (registry) => ask(life, () => draft.open(registry)),
  };
}

function guardedKv(kv: EtcdKv, life: Life): EtcdKv {
  return {
    transact: (transaction) => ask(life, () => kv.transact(transaction)),
    change: (range, since, signal) => ask(life, () => kv.change(range, since, signal)),
    async [Symbol.asyncDispose]() {},
  };
}
