/**
 * Is a run of many windows linearizable? Each window is checked by itself, beginning with every
 * state in which the windows before it may have left the system, and leaves such states itself.
 * That finds the same faults as one check of the whole, since between windows nothing runs but what
 * is *pending*: calls of unknown outcome, which may take effect in any later window.
 *
 * A pending call older than {@link PENDING_MS} has taken effect or will not; the system gives up
 * after 10 s, and a paused node wakes after as much.
 */
import { checkLinearizable, type HistoryCall, type Model } from '../../sim/meta/linearizable.ts';
import type { RecordedCall, Window } from './history.ts';

const PENDING_MS = 60_000;
/** More states than this say nothing any more. */
const STATES_MAX = 2000;
const REFUSED_SHOWN = 12;

/** Asked last in a window, and refused: so every order is looked at, and the states are seen. */
const END = Symbol('end');

interface Possible<State, Call> {
  readonly state: State;
  readonly pending: readonly RecordedCall<Call>[];
}

/** A state, and which of the calls of unknown outcome have taken effect in it. */
interface Reached<State> {
  readonly state: State;
  readonly done: ReadonlySet<unknown>;
}

export type RunVerdict<Call> =
  | { readonly kind: 'linearizable'; readonly statesMax: number }
  | { readonly kind: 'undecided'; readonly window: number }
  | {
      readonly kind: 'violation';
      readonly window: number;
      /** All calls of the window, and those that were pending when it began. */
      readonly calls: readonly RecordedCall<Call>[];
      /** Of which the node said, in this window and before, that nothing was done. */
      readonly refused: readonly RecordedCall<Call>[];
      /** The longest order that the model allows. */
      readonly longest: readonly HistoryCall<Call>[];
      /** The calls that have no place in it. */
      readonly left: readonly HistoryCall<Call>[];
    };

export function checkWindows<State, Call>(
  model: Model<State, Call>,
  windows: readonly Window<Call>[],
): RunVerdict<Call> {
  let possible: readonly Possible<State, Call>[] = [{ state: model.initial, pending: [] }];
  let statesMax = 1;
  for (const [index, window] of windows.entries()) {
    const step = checkWindow(model, window, possible);
    if (step.kind === 'undecided') return { kind: 'undecided', window: index };
    if (step.kind === 'violation') {
      const refused = windows.slice(0, index + 1).flatMap((one) => one.refused);
      return { ...step, refused, window: index };
    }
    possible = step.possible;
    statesMax = Math.max(statesMax, possible.length);
  }
  return { kind: 'linearizable', statesMax };
}

function checkWindow<State, Call>(
  model: Model<State, Call>,
  window: Window<Call>,
  before: readonly Possible<State, Call>[],
) {
  const after = new Map<string, Possible<State, Call>>();
  let best: Violation<Call> = { longest: [], left: [] };
  const pendingOf = new Set(before.flatMap(({ pending }) => pending));
  for (const from of before) {
    const search = new Search(model, window, from);
    const verdict = search.run();
    if (verdict === 'undecided') return { kind: 'undecided' as const };
    for (const [text, possible] of search.found) after.set(text, possible);
    if (verdict.longest.length >= best.longest.length) best = verdict;
    if (after.size > STATES_MAX) return { kind: 'undecided' as const };
  }
  if (after.size > 0) return { kind: 'possible' as const, possible: widest(model, after.values()) };
  return { kind: 'violation' as const, calls: [...pendingOf, ...window.calls], ...best };
}

/** What is pending may never happen: so fewer pending calls in the same state add nothing. */
function widest<State, Call>(
  model: Model<State, Call>,
  all: Iterable<Possible<State, Call>>,
): Possible<State, Call>[] {
  const groups = Map.groupBy(all, ({ state }) => model.textOf(state));
  return [...groups.values()].flatMap((group) => {
    const kept: Possible<State, Call>[] = [];
    for (const one of group.toSorted((a, b) => b.pending.length - a.pending.length)) {
      const isIn = ({ pending }: Possible<State, Call>): boolean =>
        one.pending.every((call) => pending.includes(call));
      if (!kept.some(isIn)) kept.push(one);
    }
    return kept;
  });
}

interface Violation<Call> {
  readonly longest: readonly HistoryCall<Call>[];
  readonly left: readonly HistoryCall<Call>[];
}

type Asked<Call> = RecordedCall<Call> | typeof END;

/** All orders of one window from one state. */
class Search<State, Call> {
  readonly found = new Map<string, Possible<State, Call>>();
  readonly #model: Model<State, Call>;
  readonly #window: Window<Call>;
  readonly #from: Possible<State, Call>;
  /** Of the calls with unknown outcome, for texts. */
  readonly #numbers: ReadonlyMap<unknown, number>;
  readonly #unknown: readonly RecordedCall<Call>[];

  constructor(model: Model<State, Call>, window: Window<Call>, from: Possible<State, Call>) {
    this.#model = model;
    this.#window = window;
    this.#from = from;
    const fresh = window.calls.filter(({ answer }) => answer === undefined);
    this.#unknown = [...from.pending, ...fresh];
    this.#numbers = new Map(this.#unknown.map((call, index) => [call, index]));
  }

  run(): 'undecided' | Violation<Call> {
    const { calls } = this.#window;
    const endAt = Math.max(0, ...calls.map(({ begunAt }) => begunAt), ...answeredAt(calls)) + 1;
    const history: HistoryCall<Asked<Call>>[] = [
      ...this.#from.pending.map((call) => ({ ...whenOf(call), call })),
      ...calls.map((call) => ({ ...whenOf(call), call })),
      { call: END, begunAt: endAt, endedAt: endAt + 1, answer: '' },
    ];
    const verdict = checkLinearizable(this.#asked(), history);
    if (verdict.kind === 'undecided') return 'undecided';
    // Without END it would be linearizable, so there is always one call left: END itself.
    if (verdict.kind === 'linearizable') throw new Error('the end of a window was allowed');
    return { longest: plain(verdict.longest), left: plain(verdict.left) };
  }

  #asked(): Model<Reached<State>, Asked<Call>> {
    const model = this.#model;
    return {
      initial: { state: this.#from.state, done: new Set() },
      step: ({ state, done }, call, answer) => {
        if (call === END) return this.#note({ state, done });
        const next = model.step(state, call.call, answer);
        if (next === undefined) return undefined;
        const isKnown = call.answer !== undefined;
        return { state: next, done: isKnown ? done : new Set(done).add(call) };
      },
      textOf: ({ state, done }) => `${this.#textOf(done)}|${model.textOf(state)}`,
    };
  }

  #textOf(done: ReadonlySet<unknown>): string {
    return Array.from(done, (call) => this.#numbers.get(call)!)
      .sort((a, b) => a - b)
      .join();
  }

  #note({ state, done }: Reached<State>): undefined {
    const isLive = ({ unknownSinceMs }: RecordedCall<Call>): boolean =>
      unknownSinceMs! + PENDING_MS > this.#window.endedMs;
    const pending = this.#unknown.filter((call) => !done.has(call) && isLive(call));
    const moments = pending.map(({ begunAt }) => begunAt).join();
    this.found.set(`${moments}|${this.#model.textOf(state)}`, { state, pending });
  }
}

function whenOf<Call>({ begunAt, endedAt, answer }: RecordedCall<Call>) {
  return { begunAt, endedAt, answer };
}

function answeredAt<Call>(calls: readonly RecordedCall<Call>[]): number[] {
  return calls.map(({ endedAt }) => endedAt).filter((at) => at !== Infinity);
}

function plain<Call>(calls: readonly HistoryCall<Asked<Call>>[]): HistoryCall<Call>[] {
  return calls.flatMap(({ call, ...when }) => (call === END ? [] : [{ ...when, call: call.call }]));
}

/** For people: one line for each call, in the order in which they began. */
export function violationLines<Call>({
  window,
  calls,
  longest,
  left,
  refused,
}: RunVerdict<Call> & { readonly kind: 'violation' }): string[] {
  return [
    `window ${window} is not linearizable:`,
    ...calls.map((call) => `${lineOf(call)}  (${call.client})`),
    '  refused until now:',
    ...refused.slice(-REFUSED_SHOWN).map((call) => `${lineOf(call)}  (${call.client})`),
    '  an order that goes farthest:',
    ...longest.map(lineOf),
    '  and these have no place in it:',
    ...left.map(lineOf),
  ];
}

function lineOf<Call>(call: HistoryCall<Call> & { readonly code?: string }): string {
  const until = call.endedAt === Infinity ? '?' : call.endedAt;
  const how = call.answer ?? call.code ?? 'unknown';
  return `    ${call.begunAt}–${until} ${JSON.stringify(call.call)} → ${how}`;
}
