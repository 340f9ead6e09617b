/**
 * Aim: who asks an etcd that does not answer hears what that means, and with which code; what is
 * an answer, or is not asked at all, is left as it is. Method: ways to ends that fail as told.
 */
import { expect, it } from 'vitest';
import { realEnv } from '../../env/index.ts';
import { errorCode, errorMessage, HoldfastError } from '../../base/index.ts';
import { RingWay, type RingWayEnd } from './ring-way.ts';

const QUESTION = { conditions: [], ifMet: [], ifNot: [] };

/** What is heard at an end that fails, and what is by who asks for a generation. */
async function heardOf(end: Partial<RingWayEnd> | undefined, generation?: number): Promise<string> {
  await using way = new RingWay(realEnv().clock);
  const members = [async () => Promise.reject(new HoldfastError('HF_UNAVAILABLE', 'refused'))];
  if (end) way.lead({ generation: 2, prefix: undefined, members, ...end });
  const asked: unknown = await way
    .kv(generation)
    .transact(QUESTION)
    .catch((error: unknown) => error);
  return `${errorCode(asked)} ${errorMessage(asked)}`;
}

it('a silence is told as what it means, of a ring and of an etcd of the user', async () => {
  expect(await heardOf({})).toMatch(/^HF_UNAVAILABLE no majority .*status says who is missing$/);
  const named = await heardOf({ prefix: 'p/' });
  expect(named).toMatch(/^HF_UNAVAILABLE your etcd, which keeps the names, .* \(refused\)$/);
});

it('where there is no way, or not to that generation, it is said', async () => {
  expect(await heardOf(undefined)).toBe('HF_UNAVAILABLE there is no ring');
  expect(await heardOf({}, 3)).toContain('no way to generation 3');
});
