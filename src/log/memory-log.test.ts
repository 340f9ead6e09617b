/**
 * Aim: the memory engines pass the suite, and the suite notices when a check is left out. Method:
 * the suite of all engines, on engines with and without planted bugs; faults that a wire makes.
 */
import { describe, expect, it } from 'vitest';
import {
  failingExamples,
  firstFailingSeed,
  type LogFault,
  type MakeMedium,
  testFencedLog,
} from '../../test/suites/fenced-log.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, utf8 } from '../base/index.ts';
import { type MemoryFaults, MemoryLog, type MemoryLogBugs, MemoryRegistry } from './index.ts';

const FAULTS: Record<LogFault, MemoryFaults> = {
  none: {},
  'lost before': { lostRequestPercent: 100 },
  'lost after': { lostReplyPercent: 100 },
  random: { delayMsMax: 10, lostRequestPercent: 5, lostReplyPercent: 5, overtakingPercent: 5 },
};

function memoryMedium(bugs: MemoryLogBugs = {}): MakeMedium {
  return (env) => {
    const faults: Record<string, number> = {};
    const log = new MemoryLog({ env, faults, bugs });
    const registry = new MemoryRegistry({ env, faults, log });
    return {
      open: async () => log,
      openRegistry: async () => registry,
      setFault(fault) {
        for (const name of Object.keys(faults)) delete faults[name];
        Object.assign(faults, FAULTS[fault]);
      },
    };
  };
}

testFencedLog('memory', memoryMedium(), 200);

describe('the suite notices', () => {
  it('a missing fence check', async () => {
    const medium = memoryMedium({ isFenceUnchecked: true });
    expect(await failingExamples(medium)).toContain('an older epoch is fenced, and not confirmed');
    expect(await firstFailingSeed(medium, 200)).toBeDefined();
  });

  it('a missing predecessor check', async () => {
    const medium = memoryMedium({ isPredecessorUnchecked: true });
    expect(await failingExamples(medium)).toEqual([
      'an entry without the one before it is refused, and so is a taken number',
    ]);
    expect(await firstFailingSeed(medium, 200)).toBeDefined();
  });
});

describe('the wire', () => {
  it('leaves pipelined appends in doubt once one of them was overtaken', async () => {
    const env = virtualEnv(7);
    const log = new MemoryLog({ env, faults: { delayMsMax: 50, overtakingPercent: 100 } });
    const { epoch } = await log.seize('c');
    const appends = Array.from({ length: 10 }, (_, index) =>
      log.append('c', { epoch, lsn: index + 1 }, utf8('')).catch(errorCode),
    );
    const outcomes = await Promise.all(appends);
    const okCount = outcomes.lastIndexOf('ok') + 1;
    expect(okCount).toBeLessThan(10);
    expect(outcomes.slice(0, okCount).every((outcome) => outcome === 'ok')).toBe(true);
    expect(new Set(outcomes.slice(okCount))).toEqual(new Set(['HF_UNKNOWN_OUTCOME']));
  });

  it('answers a question with HF_TIMEOUT when a message is lost', async () => {
    const log = new MemoryLog({ env: virtualEnv(1), faults: { lostReplyPercent: 100 } });
    expect(await log.confirm('c', 1).catch(errorCode)).toBe('HF_TIMEOUT');
  });
});
