/**
 * Has the metadata of this node be where that of the cluster is: as soon as there are nodes enough
 * for a ring, the node that carries the log moves it there; the others follow when they hear of a
 * generation that is higher than theirs, which may also be a log that was recovered. All of it
 * while the node runs.
 */
import { errorCode, errorMessage } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { LocalMetadata } from './local-metadata.ts';
import type { Metadata } from './metadata.ts';
import type { MovingMetadata } from './moving-metadata.ts';
import type { HeardPlace, Whereabouts } from './whereabouts.ts';

const LOOK_MS = 1000;

export interface MoverOptions {
  readonly env: Env;
  readonly metadata: MovingMetadata;
  readonly whereabouts: Whereabouts;
  /** Where it is of the highest generation that is open, as far as can be found out. */
  readonly heard: () => Promise<HeardPlace>;
  /** Forms the ring for a generation. @throws HF_UNAVAILABLE while there are too few nodes. */
  readonly form: (generation: number, signal: AbortSignal) => Promise<void>;
  /** Moves what this node carries to a ring that is there, all of it. */
  readonly moveToRing: (
    from: LocalMetadata,
    to: { readonly generation: number; readonly signal: AbortSignal },
  ) => Promise<void>;
  /** Whether this node is to move it on, from the ring to an etcd that the user named. */
  readonly isToMoveOn: () => boolean;
  /** Does so; until it has, nothing has changed for this node. */
  readonly moveOn: (from: Metadata) => Promise<void>;
  /** Opens the metadata in the ring. @throws HF_UNAVAILABLE. */
  readonly openRing: () => Promise<Metadata>;
  /** Opens the metadata of the home, when no ring has it. @throws HF_UNAVAILABLE. */
  readonly openRemote: () => Promise<Metadata>;
  /** Whether what is open is what this node can have: a metadata node carries cells. */
  readonly isRight: (metadata: Metadata) => boolean;
}

export class MetadataMover {
  readonly #options: MoverOptions;

  constructor(options: MoverOptions) {
    this.#options = options;
  }

  /** Until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { env, metadata } = this.#options;
    let reason: string | undefined;
    for await (const _ of env.clock.every(LOOK_MS, { signal })) {
      try {
        await this.look(signal);
        reason = undefined;
        metadata.staysFor = undefined;
      } catch (error) {
        if (errorCode(error) === 'HF_INTERRUPTED') return;
        if (errorCode(error) === undefined) throw error;
        const isNews = reason !== errorMessage(error);
        reason = errorMessage(error);
        metadata.staysFor = reason;
        env.log[isNews ? 'info' : 'debug']('the metadata does not move', { reason });
      }
    }
  }

  async look(signal: AbortSignal): Promise<void> {
    const { metadata, whereabouts, heard, isRight } = this.#options;
    if (whereabouts.isCarrier) return await this.#begin(signal);
    await whereabouts.noteHeard(await heard());
    if (this.#options.isToMoveOn()) return await this.#moveOn(signal);
    if (!isRight(metadata.now)) await this.#follow();
  }

  async #moveOn(signal: AbortSignal): Promise<void> {
    const { env, metadata, moveOn, openRing } = this.#options;
    await metadata.move(async (before) => {
      await moveOn(before);
      return await untilOpen(env, openRing, signal);
    });
    env.log.info('the metadata has moved on to an etcd of the user');
  }

  async #follow(): Promise<void> {
    const { env, metadata, whereabouts, openRing, openRemote } = this.#options;
    const { generation, engine } = whereabouts;
    const next = await (engine === 'etcd' ? openRing() : openRemote());
    await metadata.move(async () => next);
    env.log.info('the metadata has moved, and this node knows', { generation, engine });
  }

  async #begin(signal: AbortSignal): Promise<void> {
    const { env, metadata, whereabouts, form, moveToRing, openRing } = this.#options;
    const generation = whereabouts.generation + 1;
    await form(generation, signal);
    env.log.info('the metadata moves to a ring', { generation });
    await metadata.move(async (before) => {
      await moveToRing(before as LocalMetadata, { generation, signal });
      await whereabouts.noteRing(generation);
      return await untilOpen(env, openRing, signal);
    });
    env.log.info('the metadata is in a ring now', { generation });
  }
}

/** There is no way back. */
export async function untilOpen<Opened>(
  env: Env,
  open: () => Promise<Opened>,
  signal: AbortSignal,
): Promise<Opened> {
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.warn('the ring does not answer yet', { reason: errorMessage(error) });
      await env.clock.sleep(LOOK_MS, { signal });
    }
  }
}
