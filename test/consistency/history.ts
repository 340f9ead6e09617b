/**
 * What clients asked and were told, in windows: within one, calls run side by side; between two,
 * none does. So that a long run can be checked piece by piece (windows.ts).
 *
 * An *outcome* is an answer; `nothing`: surely nothing was done; or `unknown`: it may be done by
 * now, at some time, or never. Only a lie about that is a fault, a refusal is none.
 */
import { errorCode } from '../../src/base/index.ts';

export type Outcome =
  | { readonly kind: 'answer'; readonly text: string }
  | { readonly kind: 'nothing'; readonly code: string }
  | { readonly kind: 'unknown'; readonly code: string };

export interface RecordedCall<Call> {
  readonly call: Call;
  /** Rises with each event of the run. */
  readonly begunAt: number;
  /** Infinity when its outcome is unknown. */
  readonly endedAt: number;
  readonly answer: string | undefined;
  /** When the run's clock said it was given up; `undefined` when it was answered. */
  readonly unknownSinceMs: number | undefined;
  /** The client that asked, for people. */
  readonly client: string;
  /** How it ended, when it was not answered. */
  readonly code?: string;
}

export interface Window<Call> {
  readonly endedMs: number;
  readonly calls: readonly RecordedCall<Call>[];
  /** Of which the node said that nothing was done; for people. */
  readonly refused: readonly RecordedCall<Call>[];
}

/** Refusals of which the node says that nothing was done; a lie about them is found. */
const SURELY_NOTHING: ReadonlySet<string> = new Set([
  'HF_NOT_RUNNING',
  'HF_UNAVAILABLE',
  'HF_BUSY',
  'HF_TOO_FEW_STORES',
  'HF_NO_SPACE',
]);

/** @param answers codes that the model knows: what is right depends on the state. */
export function outcomeOfError(error: unknown, answers: ReadonlySet<string>): Outcome {
  const code = errorCode(error) ?? String(error);
  if (answers.has(code)) return { kind: 'answer', text: code };
  return { kind: SURELY_NOTHING.has(code) ? 'nothing' : 'unknown', code };
}

export class Recorder<Call> {
  /** Calls by how they ended: `answer`, or the code of what was no answer. */
  readonly counts = new Map<string, number>();
  readonly #believes: boolean;
  readonly #windows: Window<Call>[] = [];
  #calls: RecordedCall<Call>[] = [];
  #refused: RecordedCall<Call>[] = [];
  #moment = 0;

  /** @param believes whether a node that says that nothing was done is believed. */
  constructor({ believes = true } = {}) {
    this.#believes = believes;
  }

  /** @param changes whether it may have an effect: a read that was not heard says nothing. */
  async record(
    { call, client, changes }: { readonly call: Call; readonly client: string; changes: boolean },
    ask: () => Promise<Outcome>,
  ): Promise<Outcome> {
    this.#moment += 1;
    const begunAt = this.#moment;
    const outcome = await ask();
    this.#moment += 1;
    const counted = outcome.kind === 'answer' ? 'answer' : outcome.code;
    this.counts.set(counted, (this.counts.get(counted) ?? 0) + 1);
    const about = { call, client, begunAt, endedAt: this.#moment };
    if (outcome.kind === 'answer') {
      this.#calls.push({ ...about, answer: outcome.text, unknownSinceMs: undefined });
    } else if (changes) {
      const isRefused = outcome.kind === 'nothing' && this.#believes;
      const unanswered = { ...about, answer: undefined, code: outcome.code };
      const unknown = { ...unanswered, endedAt: Infinity, unknownSinceMs: performance.now() };
      if (isRefused) this.#refused.push({ ...unanswered, unknownSinceMs: undefined });
      else this.#calls.push(unknown);
    }
    return outcome;
  }

  /** All calls of the window have come back. */
  endWindow(): void {
    this.#windows.push({ endedMs: performance.now(), calls: this.#calls, refused: this.#refused });
    this.#calls = [];
    this.#refused = [];
  }

  get windows(): readonly Window<Call>[] {
    return this.#windows;
  }
}
