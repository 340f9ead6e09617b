/** Changes of the registry by compare-and-set, made again until nobody was in between. */
import { errorCode, HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';

export interface RegistryAccess {
  readonly env: Pick<Env, 'random' | 'clock'>;
  readonly registry: Registry;
}

/** What is to become of a key: `value` is written, `undefined` deletes it; without one it stays. */
export interface Change<Result> {
  readonly result: Result;
  readonly value?: Uint8Array | undefined;
}

/** Lost races after which a change is given up. */
const ATTEMPTS_MAX = 20;
/** Longest wait after a lost race, so that two nodes do not keep meeting. */
const BACKOFF_MS_MAX = 50;

/**
 * @param what keeps changing while others win, for people.
 * @param attempt works on what the registry holds then; `false` when somebody was in between.
 * @throws HF_UNAVAILABLE when it keeps losing; what `attempt` throws.
 */
export async function untilWon<Won>(
  { random, clock }: Pick<Env, 'random' | 'clock'>,
  what: string,
  attempt: () => Promise<Won | false>,
): Promise<Won> {
  for (let count = 0; count < ATTEMPTS_MAX; count++) {
    const won = await attempt();
    if (won !== false) return won;
    await clock.sleep(random.below(BACKOFF_MS_MAX));
  }
  throw new HoldfastError('HF_UNAVAILABLE', `${what} keeps changing; try again`);
}

/**
 * Changes one key.
 * @param edit given what the key holds, says what is to become of it. It may be asked again, also
 *   when its change was made but the answer was lost: then it finds its own work done.
 * @throws HF_UNAVAILABLE when the key keeps changing; what `edit` throws.
 */
export async function changeKey<Result>(
  { env, registry }: RegistryAccess,
  key: string,
  edit: (value: Uint8Array | undefined) => Change<Result>,
): Promise<Result> {
  const { result } = await untilWon(env, `the record ${key}`, async () => {
    const stored = await registry.get(key);
    const change = edit(stored?.value);
    if (!('value' in change) || (!stored && !change.value)) return change;
    const version = await setKey(registry, { key, expected: stored?.version ?? 0 }, change.value);
    return version !== undefined && change;
  });
  return result;
}

/** `undefined` as well when the outcome is not known: reading the key tells. */
async function setKey(
  registry: Registry,
  { key, expected }: { readonly key: string; readonly expected: number },
  value: Uint8Array | undefined,
): Promise<number | undefined> {
  try {
    return await registry.compareAndSet(key, expected, value);
  } catch (error) {
    if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
    return undefined;
  }
}
