/** What the control interface gets while the node waits for its stores: refusals that say so. */
import type { AdminParts } from '../admin/index.ts';
import type { Heart } from './heart.ts';

export function waitingParts(heart: Pick<Heart, 'refuse'>): Pick<AdminParts, 'volumes' | 'repair'> {
  const refuse = async (): Promise<never> => heart.refuse();
  return {
    volumes: {
      list: async () => [],
      create: refuse,
      setPolicy: refuse,
      applyPolicy: refuse,
      objects: () => heart.refuse(),
      files: () => heart.refuse(),
    },
    repair: {
      scrub: refuse,
      health: refuse,
      repair: refuse,
      collect: refuse,
      release: refuse,
      releaseLoose: refuse,
      abandon: refuse,
      status: refuse,
    },
  };
}
