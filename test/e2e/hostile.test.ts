/**
 * Aim: garbage, half-open connections, frames too large, peers that do not read, forged records and
 * replayed beacons are refused and counted, each of them, and leave nothing behind: no handle, no
 * memory. Method: a process with a network is attacked on real sockets in rounds; leaks that are
 * planted in it are found. At full size: `npm run test:large -- hostile`.
 */
import { describe, expect, it } from 'vitest';
import { attackInRounds } from './drill-hostile.ts';

it('attacks are refused, counted, and leave nothing behind', async () => {
  const result = await attackInRounds({ rounds: 4, count: 64, slowReaderCount: 2 });
  console.log(`under attack, MiB: ${JSON.stringify(result)}`);
  expect(result.refused).toBeGreaterThan(4 * 4 * 64);
});

describe('a planted leak is found:', () => {
  it('a buffer for each connection', async () => {
    const plan = { rounds: 3, count: 64, slowReaderCount: 0, leak: 'buffers' } as const;
    await expect(attackInRounds(plan)).rejects.toThrow(/memory grows/);
  });

  it('a handle for each connection', async () => {
    const plan = {
      rounds: 1,
      count: 4,
      slowReaderCount: 0,
      leak: 'handles',
      settleMs: 500,
    } as const;
    await expect(attackInRounds(plan)).rejects.toThrow(/after oversized .*in vain/);
  });
});
