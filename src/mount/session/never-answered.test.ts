/**
 * Aim: who asks something that is never answered, for a cluster does not answer it, can be
 * killed at once, is told when time is up, and does not keep others from the mount, however many
 * ask. Method: a fake kernel, and a file system whose names are never found.
 */
import { expect, it } from 'vitest';
import { FakeKernel } from '../../../test/mount/fake-kernel.ts';
import { steppedEnv } from '../../../test/suites/stepped-env.ts';
import { LIMITS } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { ERRNO } from '../errno.ts';
import type { FileSystem } from '../file-system.ts';
import { INTERRUPT_IN } from '../protocol/structs.ts';

const SLOTS = LIMITS.mountSlotsMax;
const DEADLINE_MS = 1000;

async function serving(isDying: (processId: number) => boolean = () => false) {
  let lookups = 0;
  const fileSystem = {
    lookup: async () => {
      lookups += 1;
      return await new Promise(() => {});
    },
    statistics: () => ({ blockBytes: 4096 }),
  } as unknown as FileSystem;
  const { env, step } = steppedEnv();
  let nowMs = 0;
  const kernel = await FakeKernel.serving(fileSystem, {
    env: { ...env, clock: { ...env.clock, monotonic: () => nowMs } } satisfies Env,
    patience: { deadlineMs: DEADLINE_MS, deadlineErrno: ERRNO.ETIMEDOUT, isDying },
  });
  const pass = async (ms: number): Promise<void> => {
    nowMs += ms;
    await step();
  };
  const look = (processId: number) => kernel.ask('lookup', { names: ['x'], caller: { processId } });
  const asked = async (count: number): Promise<void> => {
    while (lookups < count) await new Promise((resolve) => setImmediate(resolve));
  };
  return { kernel, pass, look, asked };
}

it('lets go who is being killed, and nobody else', async () => {
  const { kernel, look } = await serving((processId) => processId === 7);
  const unique = kernel.nextUnique;
  const killed = look(7);
  let isOtherAnswered = false;
  void look(8).finally(() => (isOtherAnswered = true));
  kernel.tell('interrupt', { struct: INTERRUPT_IN, fields: { unique } });
  expect((await killed).errno).toBe(ERRNO.EINTR);
  expect((await kernel.ask('statfs')).errno).toBe(0);
  expect(isOtherAnswered).toBe(false);
});

it('tells everybody when time is up, also who came when there was no memory left', async () => {
  const { kernel, pass, look, asked } = await serving();
  const early = Array.from({ length: SLOTS }, () => look(8));
  const late = look(8);
  const other = kernel.ask('statfs');
  await asked(SLOTS);
  await pass(DEADLINE_MS + 1);
  for (const { errno } of await Promise.all(early)) expect(errno).toBe(ERRNO.ETIMEDOUT);
  expect((await other).errno).toBe(0);
  await pass(DEADLINE_MS + 1);
  expect((await late).errno).toBe(ERRNO.ETIMEDOUT);
});

it('lets go who is being killed when no INTERRUPT can be read', async () => {
  const dying = new Set<number>();
  const { kernel, pass, look, asked } = await serving((processId) => dying.has(processId));
  const lookers = Array.from({ length: SLOTS }, (_, processId) => look(processId));
  const other = kernel.ask('statfs');
  await asked(SLOTS);
  dying.add(3);
  await pass(1);
  expect((await lookers[3]!).errno).toBe(ERRNO.EINTR);
  expect((await other).errno, 'its memory is replaced').toBe(0);
});
