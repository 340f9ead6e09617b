/**
 * Aim: nodes are asked now and then, not always, those that are unfit sooner; who did not take a
 * seat goes behind others.
 */
import { describe, expect, it } from 'vitest';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import type { NodeId } from '../../base/index.ts';
import { RingCandidates } from './ring-candidates.ts';

const nodes = [1, 2, 3, 4].map((number) => String(number).padStart(32, '0') as NodeId);

describe('RingCandidates', () => {
  it('asks the living, remembers for a while, and ranks by failures', async () => {
    const { clock } = virtualEnv(1);
    const asked: number[] = [];
    const away = new Set([nodes[3]]);
    const candidates = new RingCandidates({
      clock,
      nodes: () => nodes.map((node) => ({ node, labels: {}, isAlive: !away.has(node) })),
      asks: {
        ability: async (node) => {
          asked.push(Number(node));
          return node === nodes[2] ? undefined : { hasEtcd: true, fsyncMs: Number(node) };
        },
      },
    });
    const ranked = async (seated: NodeId[] = []) =>
      (await candidates.ranked(seated)).map(({ node }) => Number(node));
    expect(await ranked()).toEqual([1, 2]);
    expect(await ranked([nodes[0]!])).toEqual([2, 1]);
    expect(asked).toEqual([1, 2, 3, 3]); // who did not answer is asked again
    away.clear();
    candidates.failed(nodes[0]!);
    candidates.failed(nodes[0]!);
    candidates.failed(nodes[1]!);
    expect(await ranked()).toEqual([4, 2, 1]);
    await clock.sleep(11 * 60_000);
    expect(await ranked()).toEqual([1, 2, 4]);
    expect(asked.filter((number) => number === 1)).toHaveLength(2);
  });

  it('asks those again soon that were only busy', async () => {
    const { clock } = virtualEnv(1);
    let fsyncMs = 500;
    const candidates = new RingCandidates({
      clock,
      nodes: () => nodes.map((node) => ({ node, labels: {}, isAlive: true })),
      asks: {
        ability: async (node) => ({ hasEtcd: true, fsyncMs: node === nodes[0] ? fsyncMs : 1 }),
      },
    });
    expect(await candidates.ranked()).toHaveLength(3);
    fsyncMs = 5;
    expect(await candidates.ranked()).toHaveLength(3);
    await clock.sleep(61_000);
    expect(await candidates.ranked()).toHaveLength(4);
  });
});
