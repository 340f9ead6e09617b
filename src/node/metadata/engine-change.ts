/**
 * Moves the metadata from the log of this node to a ring. Until the old registry is sealed nothing
 * has happened; from then on there is no way back, and whoever finds it sealed goes on, after a
 * crash too, until the next generation is open.
 */
import { errorCode, errorMessage } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type CellId,
  changeEngine,
  EtcdDraft,
  type EtcdKv,
  type FencedLog,
  type PartStore,
} from '../../log/index.ts';
import { openVolumes, REFERENCES_SPACE, spaceOfVolume } from '../../meta/index.ts';
import type { Carried } from './local-metadata.ts';

const RETRY_MS = 1000;

export interface EngineChangeOptions {
  readonly env: Env;
  readonly from: Pick<Carried, 'registry'> & { readonly log: FencedLog };
  readonly kv: EtcdKv;
  readonly prefix: string;
  readonly metadataKey: Uint8Array;
  /** The next one. */
  readonly generation: number;
  readonly parts: PartStore;
  /** All cells of the log; one for each volume, and that of the references, when left out. */
  readonly cells?: (() => Promise<readonly CellId[]>) | undefined;
  /** Until it is aborted, what fails is tried again; without it, it fails. */
  readonly signal?: AbortSignal | undefined;
}

/** What the seal says of where a generation is. */
export function whereOf(generation: number): string {
  return `ring/${generation}`;
}

/**
 * Nothing may serve cells of the old log meanwhile.
 * @throws HF_INTERRUPTED when `signal` is aborted; it may have been sealed then.
 */
export async function moveToRing(options: EngineChangeOptions): Promise<void> {
  const { env, from, generation, signal } = options;
  const to = new EtcdDraft(options);
  for (;;) {
    try {
      await changeEngine({
        from,
        to,
        where: whereOf(generation),
        cells:
          options.cells ??
          (async () => {
            const volumes = await openVolumes(from.registry).list();
            return [REFERENCES_SPACE, ...volumes.map(({ id }) => spaceOfVolume(id))];
          }),
      });
      return;
    } catch (error) {
      if (errorCode(error) === undefined || !signal) throw error;
      env.log.warn('the metadata could not be moved yet', { reason: errorMessage(error) });
      await env.clock.sleep(RETRY_MS, { signal });
    }
  }
}
