/** A worker thread for the tests of `env/worker-pool.ts`: says what it is asked to. */
import { threadId } from 'node:worker_threads';
import { HoldfastError } from '../../src/base/index.ts';
import { serveRequests } from '../../src/env/index.ts';

export type EchoRequest =
  | { readonly do: 'echo'; readonly value: unknown }
  | { readonly do: 'data' }
  | { readonly do: 'thread' }
  /** Answers when the first number of the shared array is not 0 any more. */
  | { readonly do: 'wait'; readonly shared: SharedArrayBuffer }
  | { readonly do: 'fail'; readonly message: string; readonly isOurs: boolean }
  /** Ends the thread before it answers. */
  | { readonly do: 'end' };

serveRequests<EchoRequest, unknown>((data) => async (request) => {
  switch (request.do) {
    case 'echo':
      return request.value;
    case 'data':
      return data;
    case 'thread':
      return threadId;
    case 'wait':
      Atomics.wait(new Int32Array(request.shared), 0, 0);
      return threadId;
    case 'fail':
      if (request.isOurs) throw new HoldfastError('HF_CORRUPT', request.message);
      throw new Error(request.message);
    case 'end':
      // Not process.exit: in a worker an uncaught error ends the thread alike.
      queueMicrotask(() => {
        throw new Error('the thread was told to end');
      });
      return await new Promise(() => {});
  }
});
