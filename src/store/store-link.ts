/**
 * Exchanges with the node that has a store: each ends in good time, and fails with what the failure
 * means to the caller of a store.
 */
import type { Duplex } from 'node:stream';
import * as v from 'valibot';
import {
  type DeviceId,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  type NodeId,
} from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type { Network, OpenedStream } from '../net/index.ts';
import type { StoreState } from './chunk-store.ts';
import { badAnswer, readBatches, withinMs } from './store-streams.ts';
import * as wire from './store-wire.ts';
import { whileBusy } from './while-busy.ts';

export interface StoreLinkOptions {
  readonly clock: Clock;
  readonly network: Pick<Network, 'call' | 'open'>;
  /** Where the store is. */
  readonly node: NodeId;
  readonly id: DeviceId;
}

type Method = keyof typeof wire.STORE_METHODS;

/**
 * What another store can do as well, and deletes, which the steward makes up for when the node is
 * back: nobody waits with these for a node that is silent. What this store alone can say (a list)
 * is waited for.
 */
const ELSEWHERE_TOO: ReadonlySet<Method> = new Set([
  'put',
  'putStream',
  'get',
  'getStream',
  'stat',
  'statMany',
  'remove',
]);

interface BatchesRequest<Item> {
  readonly arg: unknown;
  readonly readItem: Parameters<typeof readBatches<Item>>[1];
  readonly signal?: AbortSignal | undefined;
  readonly silenceMs?: number;
  readonly onReply?: (reply: unknown) => void;
}

export class StoreLink {
  /** As of the last answer. */
  state: StoreState = 'active';
  readonly #options: StoreLinkOptions;
  readonly #onFailure: () => void;

  constructor(options: StoreLinkOptions, onFailure: () => void) {
    this.#options = options;
    this.#onFailure = onFailure;
  }

  /** A small exchange. */
  async call<Schema extends v.GenericSchema<unknown, { state: StoreState }>>(
    name: Method,
    arg: unknown,
    schema: Schema,
    signal?: AbortSignal,
  ): Promise<v.InferOutput<Schema>> {
    const { network, node } = this.#options;
    const isElsewhereToo = ELSEWHERE_TOO.has(name);
    const options = { deadlineMs: LIMITS.remoteCallMs, signal, isElsewhereToo };
    try {
      const method = wire.STORE_METHODS[name];
      return this.heard(schema, await network.call(node, method, arg, options));
    } catch (error) {
      throw this.translated(error, signal);
    }
  }

  /** An exchange that carries a chunk, within the time that its bytes may take. */
  async exchange<Result>(
    name: Method,
    request: { arg: unknown; bytes: number; signal?: AbortSignal | undefined },
    work: (exchange: OpenedStream<unknown>) => Promise<Result>,
  ): Promise<Result> {
    const { network, node, clock } = this.#options;
    const ms = wire.transferMs(request.bytes);
    return await withinMs({ clock, ms, signal: request.signal }, async (signal) => {
      const method = wire.STORE_METHODS[name];
      const options = { deadlineMs: ms, signal, isElsewhereToo: ELSEWHERE_TOO.has(name) };
      const exchange = await network.open(node, method, request.arg, options);
      try {
        return await work(exchange);
      } finally {
        exchange.stream.destroy();
      }
    });
  }

  /** The batches of a list, each in good time. Before the first one a busy store is waited for. */
  async *batches<Item>(name: Method, request: BatchesRequest<Item>): AsyncGenerator<Item[]> {
    const { clock } = this.#options;
    const { signal } = request;
    const ask = async () => {
      const batches = this.#askForBatches(name, request);
      return { batches, first: await batches.next() };
    };
    const { batches, first } = await whileBusy(clock, { ms: LIMITS.remoteCallMs, signal }, ask);
    if (first.done) return;
    try {
      yield first.value;
      yield* batches;
    } finally {
      await batches.return(undefined);
    }
  }

  async *#askForBatches<Item>(name: Method, request: BatchesRequest<Item>): AsyncGenerator<Item[]> {
    const { network, node, clock } = this.#options;
    const { signal, silenceMs: ms = LIMITS.remoteCallMs } = request;
    let stream: Duplex | undefined;
    try {
      const options = { deadlineMs: LIMITS.callDeadlineMsMax, signal };
      const opened = await network.open(node, wire.STORE_METHODS[name], request.arg, options);
      // Our side is not ended before all was read: until then the exchange stays alive here.
      stream = opened.stream;
      const batches = readBatches(stream, request.readItem);
      for (;;) {
        const next = await withinMs({ clock, ms }, async (late) => {
          const stop = (): unknown => stream?.destroy(late.reason as Error);
          late.addEventListener('abort', stop, { once: true });
          return await batches.next();
        });
        if (next.done) break;
        yield next.value;
      }
      const reply = await opened.reply;
      this.heard(wire.ANSWER, reply);
      request.onReply?.(reply);
    } catch (error) {
      throw this.translated(error, signal);
    } finally {
      stream?.destroy();
    }
  }

  /**
   * Waits until what was sent has left this node: its memory is about to be used again. An answer
   * to anything sent later on the same connection says so; when the connection is gone, so are the
   * bytes. (Should neither be known in time, or the node be silent, nothing is lost: what was not
   * sent when the stream ended never is, and the frame's checksum tells the other end of the rest.)
   */
  async settle(): Promise<void> {
    const { network, node, clock } = this.#options;
    try {
      await withinMs({ clock, ms: LIMITS.remoteCallMs }, async (signal) => {
        const options = { deadlineMs: LIMITS.remoteCallMs, signal, isElsewhereToo: true };
        const { settle } = wire.STORE_METHODS;
        const { stream, reply } = await network.open(node, settle, null, options);
        stream.resume();
        stream.end();
        await reply;
      });
    } catch (error) {
      if (errorCode(error) === undefined) throw error; // else the connection is gone
    }
  }

  heard<Schema extends v.GenericSchema<unknown, { state: StoreState }>>(
    schema: Schema,
    answer: unknown,
  ): v.InferOutput<Schema> {
    const checked = parsed(schema, answer);
    this.state = (checked as { state: StoreState }).state;
    return checked;
  }

  /** What an error of the exchange means to the caller of a store. */
  translated(error: unknown, signal: AbortSignal | undefined): unknown {
    this.#onFailure();
    const code = errorCode(error);
    if (signal?.aborted && code !== undefined) {
      return new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal.reason });
    }
    if (code === 'HF_DEVICE_FAILED') this.state = 'failed';
    // The caller did not give up, nor did it close anything: that node did.
    const isSilence = code === 'HF_TIMEOUT' || code === 'HF_INTERRUPTED' || code === 'HF_CLOSED';
    if (!isSilence) return error;
    const text = `store ${this.#options.id} on ${this.#options.node}: ${errorMessage(error)}`;
    return new HoldfastError('HF_UNAVAILABLE', text, { cause: error });
  }
}

/** Whether a store was not waited for because its node gives no sign of life: it may be back. */
export function isSilence(error: unknown): boolean {
  if (errorCode(error) !== 'HF_UNAVAILABLE') return false;
  return (error as HoldfastError).details?.['isSilent'] === true;
}

/** @throws HF_UNAVAILABLE when the answer has another shape. */
export function parsed<Schema extends v.GenericSchema>(
  schema: Schema,
  answer: unknown,
): v.InferOutput<Schema> {
  const { success, output, issues } = v.safeParse(schema, answer);
  if (!success) throw badAnswer(issues[0].message);
  return output;
}
