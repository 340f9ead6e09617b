/**
 * The methods that this node answers, by name, and who may call them. A stranger may call only what
 * is registered for strangers, and all strangers together only so often.
 */
import { assert, HoldfastError, LIMITS, type NodeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { IncomingRequest } from './exchange.ts';
import type { CallContext, Handler, HandleOptions, Schema } from './types.ts';

interface Method {
  readonly schema: Schema<unknown> | undefined;
  readonly forStrangers: boolean;
  readonly handler: Handler<never>;
}

export interface Caller {
  readonly node: NodeId;
  readonly verdict: 'member' | 'stranger';
}

export class MethodTable {
  readonly #env: Env;
  readonly #methods = new Map<string, Method>();
  #strangerCallCount = 0;
  #strangerSecond = 0;

  constructor(env: Env) {
    this.#env = env;
  }

  add<Arg>(name: string, options: HandleOptions<Arg>, handler: Handler<Arg>): void {
    assert(!this.#methods.has(name), `${name} is registered once`);
    const { schema, forStrangers = false } = options;
    this.#methods.set(name, { schema, forStrangers, handler });
  }

  /**
   * The result of the handler.
   * @throws HF_UNSUPPORTED, HF_DENIED, HF_BAD_ARGUMENT, HF_UNAVAILABLE; what the handler throws.
   */
  serve({ node, verdict }: Caller, request: IncomingRequest): unknown {
    const method = this.#methods.get(request.method);
    if (verdict === 'stranger') this.#admitStranger(method);
    if (!method) {
      throw new HoldfastError('HF_UNSUPPORTED', `${request.method} is not known here`);
    }
    const context = new Context(node, request);
    const { schema, handler } = method;
    if (!schema) return handler(request.arg as never, context);
    const checked = schema['~standard'].validate(request.arg);
    if (checked instanceof Promise) {
      return checked.then((result) => handler(valueOf(result) as never, context));
    }
    return handler(valueOf(checked) as never, context);
  }

  /** What is not for strangers looks to them as if it were not there. */
  #admitStranger(method: Method | undefined): void {
    if (!method?.forStrangers) throw new HoldfastError('HF_DENIED', 'not admitted');
    const second = Math.floor(this.#env.clock.monotonic() / 1000);
    if (second !== this.#strangerSecond) this.#strangerCallCount = 0;
    this.#strangerSecond = second;
    this.#strangerCallCount += 1;
    if (this.#strangerCallCount <= LIMITS.strangerCallsPerSecondMax) return;
    this.#env.metrics.add('net_stranger_calls_refused', 1);
    throw new HoldfastError('HF_UNAVAILABLE', 'too many calls of strangers; try again');
  }
}

function valueOf(result: Awaited<ReturnType<Schema<unknown>['~standard']['validate']>>): unknown {
  if (!result.issues) return result.value;
  const text = result.issues.map(({ message }) => message).join('; ');
  throw new HoldfastError('HF_BAD_ARGUMENT', text.slice(0, 500));
}

class Context implements CallContext {
  readonly from: NodeId;
  readonly #request: IncomingRequest;

  constructor(from: NodeId, request: IncomingRequest) {
    this.from = from;
    this.#request = request;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }

  get stream(): CallContext['stream'] {
    return this.#request.stream;
  }
}
