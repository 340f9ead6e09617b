/**
 * Has a node serve its metadata while it has any: it may come to have some while it runs, and have
 * it from elsewhere later (moving-metadata.ts).
 */
import { type DeviceId, errorCode, errorMessage } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { type Core, whileOpen } from '../core.ts';
import type { ServedMetadata } from '../metadata/metadata.ts';
import { type Identity, membersIn } from './members-in.ts';
import { Rights } from './rights.ts';
import type { Serving } from './serving.ts';

const RETRY_MS = 1000;

export interface MetadataServingOptions {
  readonly env: Env;
  readonly core: Core;
  readonly serving: Serving;
  readonly identity: Identity;
}

export class MetadataServing implements AsyncDisposable {
  readonly #options: MetadataServingOptions;
  #served: ServedMetadata | undefined;
  #open = new AsyncDisposableStack();

  constructor(options: MetadataServingOptions) {
    this.#options = options;
  }

  /** Serves what there is to serve now, and nothing else. */
  async settle(): Promise<void> {
    const { served } = this.#options.core.metadata;
    if (served === this.#served) return;
    const before = this.#open;
    // What was served is served until what comes is, so that nobody is turned away in between.
    this.#open = served ? await this.#serve(served) : new AsyncDisposableStack();
    this.#served = served;
    await before.disposeAsync();
  }

  /** Until `signal` is aborted. What cannot be served yet is tried again. */
  async follow(signal: AbortSignal): Promise<void> {
    const { env, core } = this.#options;
    const { metadata } = core;
    while (metadata.changed && !signal.aborted) {
      if (metadata.served === this.#served) {
        await metadata.changed(signal);
        continue;
      }
      try {
        await this.settle();
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        env.log.warn('the metadata cannot be served yet', { reason: errorMessage(error) });
        await env.clock.sleep(RETRY_MS, { signal }).catch(() => undefined);
      }
    }
  }

  async #serve(served: ServedMetadata): Promise<AsyncDisposableStack> {
    const { env, core, serving, identity } = this.#options;
    const { registry } = served;
    await using opened = new AsyncDisposableStack();
    const { members, grants } = membersIn({ env, registry, identity });
    const topology = {
      tolerance: served.tolerance,
      isAlive: (device: DeviceId) => core.stores().some(({ id }) => id === device),
    };
    const about = { env, registry, members, grants, topology };
    const rights = served.rights ?? (await Rights.open(about));
    opened.use(
      whileOpen(
        (signal) => rights.follow({ signal }),
        async (signal) => await served.follow?.({ signal }),
      ),
    );
    const { repair, nodeId: self } = core;
    opened.use(serving.serveMetadata({ self, metadata: served, repair, rights }));
    return opened.move();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open.disposeAsync();
  }
}
