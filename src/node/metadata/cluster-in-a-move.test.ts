/**
 * Aim: a change of the topology that is under way while the metadata moves is made where it is
 * then, and a closed node's is refused. Method: two places that have nothing but a cluster, the
 * first of which closes in the midst of it.
 */
import { expect, it } from 'vitest';
import { HoldfastError } from '../../base/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import type { Registry } from '../../log/index.ts';
import type { References } from '../../meta/index.ts';
import type { Metadata } from './metadata.ts';
import { MovingMetadata } from './moving-metadata.ts';

/** Its cluster answers a refresh when it is closed: with what `answer` does. */
function place(answer: () => void): Metadata {
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  const cluster: Partial<Cluster> = {
    async refresh() {
      await closed;
      answer();
    },
  };
  const metadata: Partial<Metadata> = {
    isHome: false,
    registry: {} as Registry,
    references: {} as References,
    cluster: cluster as Cluster,
    async [Symbol.asyncDispose]() {
      close();
    },
  };
  return metadata as Metadata;
}

function refused(): never {
  throw new HoldfastError('HF_CLOSED');
}

it('asks again where the metadata is, when the place closed meanwhile', async () => {
  await using metadata = new MovingMetadata(place(refused));
  const refreshed = metadata.cluster.refresh();
  let askedCount = 0;
  const next = place(() => (askedCount += 1));
  await metadata.move(async () => next);
  await next[Symbol.asyncDispose]();
  await refreshed;
  expect(askedCount).toBe(1);
});

it('is refused when the metadata is closed for good', async () => {
  const metadata = new MovingMetadata(place(refused));
  const refreshed = metadata.cluster.refresh();
  await metadata[Symbol.asyncDispose]();
  await expect(refreshed).rejects.toThrow(expect.objectContaining({ code: 'HF_CLOSED' }));
});
