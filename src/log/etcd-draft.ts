/**
 * A generation in etcd that is being made. Its state key is the fence: `start` sets it anew, and
 * each later change requires it as it was left. So who started last makes the generation, and once
 * it is open nothing that comes late is done.
 */
import { assert, concatBytes, HoldfastError, mapBounded, utf8 } from '../base/index.ts';
import { EtcdCell } from './etcd-cell.ts';
import {
  callsOf,
  encodeState,
  type EtcdGuard,
  type GenerationCalls,
  type GenerationState,
  guardedChange,
  stateIn,
  stateKey,
} from './etcd-generation.ts';
import { changedAt } from './etcd-keys.ts';
import type { EtcdCalls } from './etcd-kv.ts';
import { type EtcdLogOptions, sharedOf } from './etcd-log.ts';
import { endOfPrefix } from './etcd-messages.ts';
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
  /** As `start` left the state. */
  #revision = 0;

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
      const [state] = await this.#calls.ask([{ do: 'get', key }]);
      if (stateIn(state).isOpen) return false;
      const { areMet, revision } = await this.#calls.change({
        conditions: [changedAt(key, state?.rows[0]?.changedRevision ?? 0)],
        ifMet: [
          // All other keys come after it.
          { do: 'delete', key: concatBytes(key, Uint8Array.of(0)), end: endOfPrefix(prefix) },
          { do: 'put', key, value: encodeState(DRAFT) },
        ],
        ifNot: [],
      });
      this.#revision = revision;
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
    await mapBounded(rows, ROWS_AT_ONCE, ({ key, value }) => registry.compareAndSet(key, 0, value));
    const key = this.#stateKey;
    const value = encodeState({ isOpen: true, versionBase: version });
    try {
      await guarded.change({ conditions: [], ifMet: [{ do: 'put', key, value }], ifNot: [] });
    } catch (error) {
      // By an attempt whose answer was lost, as anybody else would have cleared what is here.
      const [state] = await this.#calls.ask([{ do: 'get', key }]);
      if (!stateIn(state).isOpen) throw error;
    }
  }

  /** While nobody else has started it. */
  #guarded(): GenerationCalls {
    const calls = this.#calls;
    const guard: EtcdGuard = {
      condition: changedAt(this.#stateKey, this.#revision),
      refuse: (row) => {
        if (row?.changedRevision === this.#revision) return;
        const message = `generation ${this.generation} is being made by somebody else`;
        throw new HoldfastError('HF_FENCED', message);
      },
    };
    return {
      versionBase: async () => 0,
      question: (operations) => calls.question(operations),
      change: (transaction) => guardedChange(calls, transaction, guard),
    };
  }
}
