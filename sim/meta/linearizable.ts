/**
 * Is a history linearizable? Every call that was answered must seem to take effect at one moment
 * between its beginning and its answer, in some order that a sequential model allows. A call whose
 * outcome is unknown may have taken effect at any moment after its beginning, or never.
 *
 * Depth first over the orders, with the pairs (set of calls done, state) remembered that lead
 * nowhere. Source: Wing and Gong 1993; the memory is Lowe's, "Testing for linearizability", 2017.
 */

/** What is remembered at the most; real histories of forty calls need some hundreds. */
const PLACES_MAX = 200_000;

export interface HistoryCall<Call> {
  readonly call: Call;
  /** Rises with each event of the history, so that two are never at the same time. */
  readonly begunAt: number;
  /** Infinity while the outcome is not known. */
  readonly endedAt: number;
  /** `undefined` while the outcome is not known. */
  readonly answer: string | undefined;
}

/** A sequential specification. States are values: a step leaves its state as it is. */
export interface Model<State, Call> {
  readonly initial: State;
  /**
   * @param answer what was observed; `undefined` allows whatever the call would answer.
   * @returns the state afterwards, or `undefined` when that cannot be the answer.
   */
  step(state: State, call: Call, answer: string | undefined): State | undefined;
  /** The same text for the same states, and for no others. */
  textOf(state: State): string;
}

export type Verdict<Call> =
  | { readonly kind: 'linearizable' }
  /** Too many orders: nothing is known. */
  | { readonly kind: 'undecided' }
  | {
      readonly kind: 'violation';
      /** The longest order that the model allows. */
      readonly longest: readonly HistoryCall<Call>[];
      /** The calls that were answered and have no place in it. */
      readonly left: readonly HistoryCall<Call>[];
    };

/** Calls done are bits of a mask, in the order in which they began. */
interface Place<State> {
  readonly mask: bigint;
  readonly state: State;
  /** How it was reached: the call's index and the place before. */
  readonly last: number;
  readonly before: Place<State> | undefined;
}

export function checkLinearizable<State, Call>(
  model: Model<State, Call>,
  history: readonly HistoryCall<Call>[],
): Verdict<Call> {
  const calls = history.toSorted((a, b) => a.begunAt - b.begunAt);
  let answered = 0n;
  for (const [index, { endedAt }] of calls.entries()) {
    if (endedAt !== Infinity) answered |= bit(index);
  }
  const seen = new Set<string>();
  let longest: Place<State> = { mask: 0n, state: model.initial, last: -1, before: undefined };
  const places = [longest];
  for (let place = places.pop(); place; place = places.pop()) {
    if ((place.mask & answered) === answered) return { kind: 'linearizable' };
    const text = `${place.mask}|${model.textOf(place.state)}`;
    if (seen.has(text)) continue;
    if (seen.size === PLACES_MAX) return { kind: 'undecided' };
    seen.add(text);
    if (countOf(place.mask & answered) > countOf(longest.mask & answered)) longest = place;
    pushNext({ model, calls, places }, place);
  }
  const isLeft = (index: number): boolean => (answered & ~longest.mask & bit(index)) !== 0n;
  return {
    kind: 'violation',
    longest: orderOf(longest).map((index) => calls[index]!),
    left: calls.filter((_, index) => isLeft(index)),
  };
}

/** Every call may be next that began before the first answer that is still to come. */
function pushNext<State, Call>(
  search: {
    readonly model: Model<State, Call>;
    readonly calls: readonly HistoryCall<Call>[];
    readonly places: Place<State>[];
  },
  place: Place<State>,
): void {
  const { model, calls, places } = search;
  let firstEnd = Infinity;
  for (const [index, { begunAt, endedAt }] of calls.entries()) {
    if (begunAt > firstEnd) break;
    if ((place.mask & bit(index)) === 0n && endedAt < firstEnd) firstEnd = endedAt;
  }
  // What is pushed last is tried first: the call that began first.
  const from = places.length;
  for (const [index, { call, begunAt, answer }] of calls.entries()) {
    if (begunAt > firstEnd) break;
    if ((place.mask & bit(index)) !== 0n) continue;
    const state = model.step(place.state, call, answer);
    if (state === undefined) continue;
    places.push({ mask: place.mask | bit(index), state, last: index, before: place });
  }
  reverseFrom(places, from);
}

function reverseFrom(items: unknown[], from: number): void {
  for (let low = from, high = items.length - 1; low < high; low += 1, high -= 1) {
    [items[low], items[high]] = [items[high], items[low]];
  }
}

const BITS: readonly bigint[] = Array.from({ length: 256 }, (_, index) => 1n << BigInt(index));

function bit(index: number): bigint {
  return BITS[index] ?? 1n << BigInt(index);
}

function countOf(mask: bigint): number {
  let count = 0;
  for (let left = mask; left > 0n; left &= left - 1n) count += 1;
  return count;
}

function orderOf<State>(place: Place<State>): number[] {
  const order: number[] = [];
  for (let at = place; at.before; at = at.before) order.push(at.last);
  return order.reverse();
}
