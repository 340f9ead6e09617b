/**
 * *Lives* of an etcd. A ring that has lost its majority is restored from what one member had heard:
 * revisions go back, and are given a second time for other changes. So each restoration begins a
 * life, whose number a key of the whole etcd has. Every change requires the life in which its
 * conditions were learnt, and what is counted leaps with each: versions of the registry by
 * VERSIONS_PER_LIFE, epochs by EPOCHS_PER_LIFE. So nothing that was known of the time that is lost
 * is ever taken for what is so now, by processes that went on neither.
 */
import { utf8 } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import { changedAt, numberIn, numberValue } from './etcd-keys.ts';
import { EtcdCalls, type EtcdKv } from './etcd-kv.ts';
import type { EtcdAnswer, EtcdCondition, EtcdOperation } from './etcd-messages.ts';

/** Beside the prefixes of all generations. */
const LIFE_KEY = 'holdfast/life';
/** More changes than an etcd makes in a year; 8000 lives fit a safe number. */
const VERSIONS_PER_LIFE = 2 ** 40;
/** More seizures of one cell than can have been lost. */
export const EPOCHS_PER_LIFE = 2 ** 20;

export interface EtcdLife {
  /** 0: it was never restored. */
  readonly number: number;
  /** At which it began; no change of before has a higher one. */
  readonly revision: number;
}

export const FIRST_LIFE: EtcdLife = { number: 0, revision: 0 };

export function askLife(): EtcdOperation {
  return { do: 'get', key: utf8(LIFE_KEY) };
}

/** @throws HF_CORRUPT. */
export function lifeIn(answer: EtcdAnswer | undefined): EtcdLife {
  return { number: numberIn(answer), revision: answer?.rows[0]?.changedRevision ?? 0 };
}

export function isLife({ revision }: EtcdLife): EtcdCondition {
  return changedAt(utf8(LIFE_KEY), revision);
}

/** All that were given in earlier lives are below. */
export function versionsBefore({ number }: EtcdLife): number {
  return number * VERSIONS_PER_LIFE;
}

/**
 * To be done after an etcd was restored, before anybody is let in. Again it does nothing.
 * @param number above that of the life before.
 * @throws as EtcdCalls.change.
 */
export async function beginLife(
  { kv, env }: { readonly kv: EtcdKv; readonly env: { readonly clock: Clock } },
  number: number,
): Promise<void> {
  const calls = new EtcdCalls({ kv, clock: env.clock });
  for (;;) {
    const before = lifeIn((await calls.ask([askLife()]))[0]);
    if (before.number >= number) return;
    const { areMet } = await calls.change({
      conditions: [isLife(before)],
      ifMet: [{ do: 'put', key: utf8(LIFE_KEY), value: numberValue(number) }],
      ifNot: [],
    });
    if (areMet) return;
  }
}
