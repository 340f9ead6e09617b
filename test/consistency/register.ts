/**
 * The workload `register`: a few keys, each a register that is put, got and deleted as an object.
 * For each key the history must be linearizable: a read gives the last value put, or nothing after
 * a delete. Keys are independent, so each is checked by itself.
 *
 * Source: the description of the register workload of Garage's Jepsen suite (read-after-write); the
 * values here are unique, so that it is seen which put a read is of.
 */
import type { Model } from '../../sim/meta/linearizable.ts';
import { below, bytesOf } from '../e2e/content.ts';
import type { Kind } from './clients.ts';
import type { Window } from './history.ts';

const KEYS = ['a', 'b', 'c', 'd', 'e'];
const GONE = 'HF_NOT_FOUND';
const ANSWERS: ReadonlySet<string> = new Set([GONE]);

export type RegisterCall =
  | { readonly do: 'put'; readonly key: string; readonly value: number }
  | { readonly do: 'get' | 'delete'; readonly key: string };

export function registerKind(prefix: string): Kind<RegisterCall> {
  return {
    answers: ANSWERS,
    plan(random, number) {
      const key = KEYS[below(random, KEYS.length)]!;
      const drawn = random();
      if (drawn < 0.45) return { do: 'get', key };
      return drawn < 0.85 ? { do: 'put', key, value: number } : { do: 'delete', key };
    },
    changes: (call) => call.do !== 'get',
    async ask(client, call, signal) {
      const key = prefix + call.key;
      if (call.do === 'put') {
        await client.put(contentOf(call.value), { key, signal });
        return 'ok';
      }
      if (call.do === 'delete') {
        await client.call('object.remove', { reference: key }, { signal });
        return 'ok';
      }
      const { bytes } = await client.get({ reference: key, signal });
      return (await bytesOf(bytes)).toString();
    },
    survey: KEYS.map((key) => ({ do: 'get', key })),
  };
}

async function* contentOf(value: number): AsyncGenerator<Buffer> {
  yield Buffer.from(String(value));
}

/** Of one key: its value, or null when there is none. */
export const registerModel: Model<number | null, RegisterCall> = {
  initial: null,
  step(state, call, answer) {
    const right = rightAnswer(state, call);
    if (answer !== undefined && answer !== right) return undefined;
    if (call.do === 'get') return state;
    return call.do === 'put' ? call.value : null;
  },
  textOf: (state) => String(state),
};

function rightAnswer(state: number | null, call: RegisterCall): string {
  if (call.do === 'put') return 'ok';
  if (state === null) return GONE;
  return call.do === 'get' ? String(state) : 'ok';
}

/** The history of each key: windows are of all keys at once, so they are of each. */
export function windowsByKey(
  windows: readonly Window<RegisterCall>[],
): { readonly key: string; readonly windows: Window<RegisterCall>[] }[] {
  return KEYS.map((key) => ({
    key,
    windows: windows.map(({ endedMs, calls, refused }) => ({
      endedMs,
      calls: calls.filter(({ call }) => call.key === key),
      refused: refused.filter(({ call }) => call.key === key),
    })),
  }));
}
