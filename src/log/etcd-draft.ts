/**
 * A generation in etcd that is being made. Its state key is the fence: `start` sets it anew, and
 * each later change requires it as it was left. So who started last makes the generation, and once
 * it is open nothing that comes late is done.
 */
import { assert, concatBytes, HoldfastError, mapBounded, utf8 } from '../base/index.ts';
import { EtcdCell } from './etcd-cell.ts';
import {
  askInLife,
  callsOf,
  encodeState,
  type EtcdGuard,
  type GenerationCalls,
  type GenerationState,
  guardedChange,
  type ResultInLife,
  stateIn,
  stateKey,
} from './etcd-generation.ts';
import { changedAt } from './etcd-keys.ts';
import type { EtcdCalls } from './etcd-kv.ts';
import { type EtcdLife, FIRST_LIFE, isLife } from './etcd-life.ts';
import { type EtcdLogOptions, sharedOf } from './etcd-log.ts';
import { endOfPrefix, type EtcdOperation } from './etcd-messages.ts';
import { EtcdRegistry } from './etcd-registry.ts';
import type { CellId } from './fenced-log.ts';
import type { CellCopy, GenerationDraft, RegistryCopy } from './generations.ts';

const ROWS_AT_ONCE = 16;
const DRAFT: GenerationState = { isOpen: false, versionBase: 0 };

export class EtcdDraft implements GenerationDraft {
  readonly generation: number;
  readonly #options: EtcdLogOptions;
  readonly #calls: EtcdCalls;
  readonly #stateKey: Uint8Array;
  /** As `start` left the state, and in which life of the etcd. */
  #revision = 0;
  #life: EtcdLife = FIRST_LIFE;

  /** The same options as for opening its log then. */
  constructor(options: EtcdLogOptions) {
    assert(options.generation > 1, 'the first generation is open from the start');
    this.generation = options.generation;
    this.#options = options;
    this.#calls = callsOf(options);
    this.#stateKey = stateKey(options);
  }

  async start(): Promise<boolean> {
    const key = this.#stateKey;
    const prefix = utf8(this.#options.prefix);
    for (;;) {
      const { answers, life } = await askInLife(this.#calls, [{ do: 'get', key }]);
      const [state] = answers;
      if (stateIn(state).isOpen) return false;
      const { areMet, revision } = await this.#calls.change({
        conditions: [changedAt(key, state?.rows[0]?.changedRevision ?? 0), isLife(life)],
        ifMet: [
          // All other keys come after it.
          { do: 'delete', key: concatBytes(key, Uint8Array.of(0)), end: endOfPrefix(prefix) },
          { do: 'put', key, value: encodeState(DRAFT) },
        ],
        ifNot: [],
      });
      this.#revision = revision;
      this.#life = life;
      if (areMet) return true;
    }
  }

  async copyCell(cell: CellId, copy: CellCopy): Promise<void> {
    const own = new EtcdCell(cell, sharedOf(this.#options, this.#guarded()));
    await own.adopt(copy);
    await own.settled();
  }

  async open({ version, rows }: RegistryCopy): Promise<void> {
    const guarded = this.#guarded();
    const registry = new EtcdRegistry(this.#options, guarded);
    await mapBounded(rows, ROWS_AT_ONCE, async ({ key, value }) => {
      const copied = await registry.compareAndSet(key, 0, value);
      assert(copied !== undefined, 'nobody else writes to a draft');
    });
    const key = this.#stateKey;
    const value = encodeState({ isOpen: true, versionBase: version });
    try {
      const opening = { conditions: [], ifMet: [{ do: 'put', key, value }], ifNot: [] } as const;
      await guarded.change(opening, this.#life);
    } catch (error) {
      // By an attempt whose answer was lost, as anybody else would have cleared what is here.
      const [state] = await this.#calls.ask([{ do: 'get', key }]);
      if (!stateIn(state).isOpen) throw error;
    }
  }

  /** While nobody else has started it. */
  #guarded(): GenerationCalls {
    const calls = this.#calls;
    const life = this.#life;
    const guard: EtcdGuard = {
      conditions: [changedAt(this.#stateKey, this.#revision), isLife(life)],
      refuse: (answers) => {
        const [state, now] = answers.map(({ rows }) => rows[0]?.changedRevision ?? 0);
        if (state === this.#revision && now === life.revision) return;
        const message = `generation ${this.generation} is being made by somebody else`;
        throw new HoldfastError('HF_FENCED', message);
      },
    };
    const questionInLife = async (operations: readonly EtcdOperation[]): Promise<ResultInLife> => ({
      ...(await calls.question(operations)),
      life,
    });
    return {
      versionBase: async () => 0,
      life: async () => life,
      question: (operations) => calls.question(operations),
      questionInLife,
      questionUnlessSealed: questionInLife, // a draft is never sealed
      change: (transaction) => guardedChange(calls, transaction, guard),
    };
  }
}
