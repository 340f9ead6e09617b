/**
 * What this node tells others of the cells that it carries: each state with the *moment*, a count,
 * at which it came to be so, so that who asks again is told what is new alone.
 */
import { toHex } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellId } from '../../log/index.ts';
import type { CarriedState, Ping, Pong } from './ping-wire.ts';

/** Looked at for all who ask, not for each. */
const LOOK_MS = 50;

export interface ToldStatesOptions {
  readonly env: Env;
  /** As of the call. */
  readonly states: () => readonly CarriedState[];
  readonly isCut: () => boolean;
}

export class ToldStates {
  readonly #options: ToldStatesOptions;
  readonly #run: string;
  #told = new Map<CellId, CarriedState & { readonly since: number }>();
  #at = 0;
  /** When a cell was let go of last: who knows less is told all. */
  #wholeAt = 0;
  #lookedAtMs = -Infinity;

  constructor(options: ToldStatesOptions) {
    this.#options = options;
    this.#run = toHex(options.env.random.bytes(8));
  }

  answer({ run, at }: Ping): Pong {
    this.#look();
    const isWhole = run !== this.#run || at < this.#wholeAt || at > this.#at;
    const cells: CarriedState[] = [];
    for (const { cell, role, epoch, lsn, since } of this.#told.values()) {
      if (isWhole || since > at) cells.push({ cell, role, epoch, lsn });
    }
    return { run: this.#run, at: this.#at, isCut: this.#options.isCut(), isWhole, cells };
  }

  #look(): void {
    const { env, states } = this.#options;
    const nowMs = env.clock.monotonic();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return;
    this.#lookedAtMs = nowMs;
    const since = this.#at + 1;
    const before = this.#told;
    this.#told = new Map();
    let isChanged = false;
    for (const state of states()) {
      const old = before.get(state.cell);
      before.delete(state.cell);
      const isSame = old?.role === state.role && old.epoch === state.epoch && old.lsn === state.lsn;
      this.#told.set(state.cell, isSame ? old : { ...state, since });
      isChanged ||= !isSame;
    }
    if (before.size > 0) this.#wholeAt = since;
    if (isChanged || before.size > 0) this.#at = since;
  }
}
