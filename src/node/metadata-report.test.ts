/**
 * Aim: who looks where names are is told why one node still has them all. Method: whole nodes in
 * this process over a transport in memory, too few of them for a ring.
 */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { WholeNodes } from '../../test/suites/whole-nodes.ts';

let nodes: WholeNodes;

beforeEach(async () => {
  nodes = await WholeNodes.open();
});
afterEach(async () => {
  await nodes[Symbol.asyncDispose]();
});

it('a lone node has nothing to tell; of two it is said that a third is missing', async () => {
  await nodes.start('a');
  const alone = await nodes.on('a').call('meta.report', {});
  expect(alone).toMatchObject({ engine: 'local', note: null, cells: [] });
  await nodes.join('b', { inviter: 'a' });
  await vi.waitFor(
    async () => {
      const { engine, note } = await nodes.on('a').call('meta.report', {});
      expect(engine).toBe('local');
      expect(note).toContain('a third node');
    },
    { timeout: 20_000, interval: 100 },
  );
});
