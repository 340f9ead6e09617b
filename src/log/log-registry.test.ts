/**
 * Aim: what only the registry on a log does: a second instance takes over and the first notices;
 * the log stays short; a corrupt entry is refused. Method: two instances on one memory log. (The
 * suite of fenced-log.ts runs on it with the engine `local`.)
 */
import { describe, expect, it } from 'vitest';
import { errorCode, fromUtf8, utf8 } from '../base/index.ts';
import { silentLog } from '../env/index.ts';
import { LogRegistry, MemoryLog, REGISTRY_CELL, type SealableLog } from './index.ts';

function openRegistry(log: SealableLog): Promise<LogRegistry> {
  return LogRegistry.open({ log, report: silentLog, snapshotAfterBytes: 500 });
}

describe('LogRegistry', () => {
  it('reads what another instance has set meanwhile, and sets on top of it', async () => {
    const log = new MemoryLog();
    const first = await openRegistry(log);
    await first.compareAndSet('a', 0, utf8('1'));
    const second = await openRegistry(log);
    const version = (await second.get('a'))!.version;
    await second.compareAndSet('a', version, utf8('2'));
    expect(await first.compareAndSet('a', version, utf8('3'))).toBeUndefined();
    expect(fromUtf8((await first.get('a'))!.value)).toBe('2');
  });

  it('sets nothing when another instance takes over just before the append', async () => {
    const log = new MemoryLog();
    const registry = await openRegistry(log);
    const append = log.append.bind(log);
    log.append = async (...call) => {
      await log.seize(REGISTRY_CELL);
      return await append(...call);
    };
    const change = registry.compareAndSet('a', 0, utf8('1'));
    expect(await change.catch(errorCode)).toBe('HF_FENCED');
    expect(await registry.get('a')).toBeUndefined();
  });

  it('keeps the log short', async () => {
    const log = new MemoryLog();
    const registry = await openRegistry(log);
    for (let round = 0; round < 100; round++) {
      const version = (await registry.get('k'))?.version ?? 0;
      await registry.compareAndSet('k', version, new Uint8Array(100));
    }
    const { lsn, trimmed } = await log.head(REGISTRY_CELL);
    expect(lsn).toBe(100);
    expect(lsn - trimmed).toBeLessThan(10);
  });

  it('refuses an entry that is no change', async () => {
    const log = new MemoryLog();
    const { epoch } = await log.seize(REGISTRY_CELL);
    await log.append(REGISTRY_CELL, { epoch, lsn: 1 }, utf8('no change'));
    expect(await openRegistry(log).catch(errorCode)).toBe('HF_CORRUPT');
  });
});
