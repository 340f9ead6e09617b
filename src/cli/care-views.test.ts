/** Aim: what repair does is said in words that are true and plain. Method: examples. */
import { describe, expect, it } from 'vitest';
import type { DeviceView, RepairStatusView } from '../api/index.ts';
import { repairFields, roughly, scrubText } from './care-views.ts';

const AT_REST: RepairStatusView = {
  activity: 'rest',
  isWaiting: false,
  startedAtMs: null,
  doneCount: 0,
  totalCount: 0,
  doneBytes: 0,
  totalBytes: 0,
  bytesPerSecond: 0,
  leftMs: null,
  stripesAtRisk: 0,
  bytesAtRisk: 0,
  wholeGroups: 4096,
  groupCount: 4096,
  lastRepairAtMs: null,
};

describe('repair', () => {
  it('at rest says when it last ran, and what is at risk as far as it has looked', () => {
    expect(repairFields(AT_REST)).toEqual({ repair: 'at rest', 'at risk': undefined });
    expect(repairFields({ ...AT_REST, lastRepairAtMs: 0 })).toEqual({
      repair: 'at rest; last run ended 1970-01-01T00:00:00.000Z',
      'at risk': 'nothing',
    });
    expect(repairFields(null)['repair']).toBe('not known: the home does not answer');
  });

  it('at work says how far it is, how fast, and how long it takes', () => {
    const status: RepairStatusView = {
      ...AT_REST,
      activity: 'repair',
      isWaiting: true,
      doneCount: 3,
      totalCount: 40,
      doneBytes: 30 * 2 ** 20,
      totalBytes: 400 * 2 ** 20,
      bytesPerSecond: 10 * 2 ** 20,
      leftMs: 37_000,
      stripesAtRisk: 37,
      bytesAtRisk: 2 ** 30,
    };
    expect(repairFields(status)).toEqual({
      repair:
        'making shards again: 3 of 40 stripes, 30 MiB of 400 MiB, 10 MiB/s, 37 s left; ' +
        'it makes way for clients or keeps to its rate',
      'at risk': '1 GiB in 37 stripes lacking shards',
    });
    const look = { ...status, activity: 'look' as const, isWaiting: false };
    expect(repairFields(look)['repair']).toBe('looking for what lacks shards: 3 of 40 groups');
  });

  it.each([
    [900, '1 s'],
    [119_000, '119 s'],
    [600_000, '10 min'],
    [3 * 3_600_000, '3 h'],
    [72 * 3_600_000, '3 days'],
  ])('%i ms are %s', (ms, text) => {
    expect(roughly(ms)).toBe(text);
  });
});

it('the background says how far it has read, and when the oldest pass ended', () => {
  const scrubbed = (part: number, endedAtMs: number) =>
    ({ scrub: { part, endedAtMs } }) as DeviceView;
  expect(scrubText([{} as DeviceView])).toBeUndefined();
  expect(scrubText([scrubbed(0.5, 0), scrubbed(0, 9)])).toBe(
    '25 % of this pass read in the background; not all read yet',
  );
  expect(scrubText([scrubbed(0, 1000), scrubbed(0, 9000)])).toBe(
    '0 % of this pass read in the background; ' +
      'each was read whole at 1970-01-01T00:00:01.000Z or later',
  );
});
