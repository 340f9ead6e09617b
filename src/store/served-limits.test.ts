/**
 * Aim: peers get memory in order, nobody more than its share, all together no more than there is;
 * who gives up leaves nothing behind. Method: reservations one by one, and random ones.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hexId, LIMITS, MiB, type NodeId } from '../base/index.ts';
import { BufferPool } from './buffer-pool.ts';
import { ServedMemory } from './served-limits.ts';

const { signal } = new AbortController();
const { servedBytesMax, servedBytesPerPeerMax } = LIMITS;

function peer(number: number): NodeId {
  return hexId(new Uint8Array(16).fill(number));
}

function newMemory(): ServedMemory {
  return new ServedMemory(new BufferPool({ allocate: (bytes) => new Uint8Array(bytes) }));
}

describe('memory for chunks of peers', () => {
  it('lets no peer with its share hold up others, nor small ones pass a large one', async () => {
    const memory = newMemory();
    const order: string[] = [];
    const ask = async (name: string, from: number, bytes: number): Promise<Disposable> => {
      const held = await memory.reserve(peer(from), bytes, signal);
      order.push(name);
      return held;
    };
    const first = await ask('whole share', 1, servedBytesPerPeerMax);
    const more = ask('above its share', 1, 1);
    for (const from of [2, 3, 4]) await ask(`share of ${from}`, from, servedBytesPerPeerMax - MiB);
    const large = ask('large', 5, servedBytesPerPeerMax);
    const small = ask('small', 6, 1);
    await Promise.resolve();
    expect(order.at(-1)).toBe('share of 4');
    first[Symbol.dispose]();
    await Promise.all([more, large, small]);
    expect(order.slice(4)).toEqual(['above its share', 'large', 'small']);
  });

  it('gives out no more than there is, and in the end all of it', async () => {
    const wish = fc.record({
      from: fc.integer({ min: 1, max: 6 }),
      bytes: fc.integer({ min: 0, max: servedBytesPerPeerMax }),
      givesUp: fc.boolean(),
      turns: fc.nat(5),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(wish, { maxLength: 40 }), async (wishes) => {
        const memory = newMemory();
        let takenBytes = 0;
        const works = wishes.map(async ({ from, bytes, givesUp, turns }) => {
          const abort = new AbortController();
          const asked = memory.reserve(peer(from), bytes, abort.signal);
          if (givesUp) abort.abort();
          const held = await asked.catch(() => undefined);
          if (!held) return;
          takenBytes += bytes;
          expect(takenBytes).toBeLessThanOrEqual(servedBytesMax);
          for (let turn = 0; turn < turns; turn++) await Promise.resolve();
          takenBytes -= bytes;
          held[Symbol.dispose]();
        });
        await Promise.all(works);
        expect(takenBytes).toBe(0);
        for (const from of [1, 2, 3, 4])
          await memory.reserve(peer(from), servedBytesPerPeerMax, signal);
      }),
      { numRuns: 100 },
    );
  });
});
