/**
 * Aim: answers reach who asked, errors keep their code, nothing waits for a thread that is gone.
 * Method: a worker that echoes; where order matters, it is held back by shared memory.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EchoRequest } from '../../test/workers/echo-worker.ts';
import { siblingModule } from './sibling.ts';
import { WorkerPool } from './worker-pool.ts';

const MODULE = new URL('../../test/workers/echo-worker.ts', import.meta.url);

let pool: WorkerPool<EchoRequest, unknown>;

beforeEach(() => {
  pool = new WorkerPool({ module: MODULE, workerCount: 2, data: { volume: 'default' } });
});

afterEach(async () => await pool[Symbol.asyncDispose]());

/** A latch in shared memory; `open` lets every worker go on that waits for it. */
function latch(): { shared: SharedArrayBuffer; open(): void } {
  const shared = new SharedArrayBuffer(4);
  const view = new Int32Array(shared);
  return {
    shared,
    open() {
      Atomics.store(view, 0, 1);
      Atomics.notify(view, 0);
    },
  };
}

it('answers each request with its own result, however many are asked at once', async () => {
  const values = Array.from({ length: 200 }, (_, value) => value);
  const answers = values.map((value) => pool.call({ do: 'echo', value }));
  expect(await Promise.all(answers)).toEqual(values);
});

it('hands the data of the pool to every worker', async () => {
  const answers = await Promise.all([pool.call({ do: 'data' }), pool.call({ do: 'data' })]);
  expect(answers).toEqual([{ volume: 'default' }, { volume: 'default' }]);
});

it('gives work to the worker with the fewest unanswered requests', async () => {
  const held = latch();
  const first = pool.call({ do: 'wait', shared: held.shared });
  const others = [await pool.call({ do: 'thread' }), await pool.call({ do: 'thread' })];
  held.open();
  const busy = await first;
  expect(others[0]).toBe(others[1]);
  expect(others[0]).not.toBe(busy);
});

it('moves buffers that are transferred', async () => {
  const bytes = new Uint8Array([1, 2, 3]);
  const answer = await pool.call({ do: 'echo', value: bytes }, [bytes.buffer]);
  expect(answer).toEqual(new Uint8Array([1, 2, 3]));
  expect(bytes.length).toBe(0);
});

describe('errors', () => {
  it('of ours keep their code and message', async () => {
    const call = pool.call({ do: 'fail', message: 'page 7 is bad', isOurs: true });
    await expect(call).rejects.toMatchObject({ code: 'HF_CORRUPT', message: 'page 7 is bad' });
  });

  it('of others keep their message, and the worker goes on', async () => {
    const call = pool.call({ do: 'fail', message: 'boom', isOurs: false });
    await expect(call).rejects.toThrow('boom');
    expect(await pool.call({ do: 'echo', value: 1 })).toBe(1);
  });

  it('fail everything that waits for a thread that ended', async () => {
    const end = pool.call({ do: 'end' });
    await expect(end).rejects.toThrow('told to end');
  });

  it('are the answer to every call on a thread that has ended', async () => {
    await using single = new WorkerPool<EchoRequest, unknown>({ module: MODULE, workerCount: 1 });
    await expect(single.call({ do: 'end' })).rejects.toThrow();
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(single.call({ do: 'echo', value: 1 })).rejects.toThrow('told to end');
    }
  });
});

it('closing rejects what is under way with HF_CLOSED, and later calls too', async () => {
  const held = latch();
  const call = pool.call({ do: 'wait', shared: held.shared });
  const rejected = expect(call).rejects.toMatchObject({ code: 'HF_CLOSED' });
  await pool[Symbol.asyncDispose]();
  await rejected;
  await expect(pool.call({ do: 'thread' })).rejects.toMatchObject({ code: 'HF_CLOSED' });
});

it('siblingModule keeps the extension of the caller', () => {
  const sibling = (caller: string) => siblingModule(caller, './worker').href;
  expect(sibling('file:///a/src/db/open.ts')).toBe('file:///a/src/db/worker.ts');
  expect(sibling('file:///a/dist/db/open.js')).toBe('file:///a/dist/db/worker.js');
});
