/** Aim: what is counted can be asked for. Method: examples. */
import { expect, it } from 'vitest';
import { MetricsTable } from './metrics-table.ts';

it('adds counters, sets gauges, and tells labels apart in any order', () => {
  const metrics = new MetricsTable();
  metrics.add('refused', 1, { why: 'late', where: 'door' });
  metrics.add('refused', 2, { where: 'door', why: 'late' });
  metrics.add('refused', 5, { where: 'door', why: 'early' });
  metrics.set('links', 7);
  metrics.set('links', 3);
  expect(metrics.get('refused', { why: 'late', where: 'door' })).toBe(3);
  expect(metrics.get('nothing')).toBe(0);
  expect([...metrics.entries()]).toEqual([
    ['refused{where="door",why="late"}', 3],
    ['refused{where="door",why="early"}', 5],
    ['links', 3],
  ]);
});
