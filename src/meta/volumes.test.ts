// Aim: volumes are made once, found by name, changed without losing another change; records of the
// first version are read. Method: the memory registry, and one whose key changes between reading
// and writing; bytes of an old record, written by hand.
import { describe, expect, it } from 'vitest';
import { ByteWriter, errorCode, fromHex, type NodeId, parsePolicy } from '../base/index.ts';
import type { VolumeId } from '../base/index.ts';
import { MemoryRegistry } from '../log/index.ts';
import { openVolumes, type VolumeRecord } from './volumes.ts';

const ID = '0123456789abcdef'.repeat(2) as VolumeId;

function recordOf(name: string, parts: Partial<VolumeRecord> = {}): VolumeRecord {
  return {
    id: ID,
    name,
    policy: parsePolicy('rs-4+2'),
    isDeduplicating: true,
    retention: undefined,
    reencodedBy: undefined,
    createdAtMs: 123,
    ...parts,
  };
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

describe('Volumes', () => {
  it('are listed by name and read back as made', async () => {
    const volumes = openVolumes(new MemoryRegistry());
    const records = [
      recordOf('photos'),
      recordOf('archive.2', { isDeduplicating: false }),
      recordOf('hybrid', { policy: parsePolicy('rs-4+2,near-4,copy-1') }),
      recordOf('for-ever', { retention: { retentionMs: undefined } }),
      recordOf('month', {
        retention: { retentionMs: 2 ** 40 },
        reencodedBy: ID as never as NodeId,
      }),
    ];
    for (const record of records) await volumes.create(record);
    for (const record of records) expect(await volumes.get(record.name)).toEqual(record);
    expect(await volumes.get('none')).toBeUndefined();
    const names = records.map(({ name }) => name).sort();
    expect((await volumes.list()).map(({ name }) => name).sort()).toEqual(names);
  });

  it('are not made twice, nor with a name that is none', async () => {
    const volumes = openVolumes(new MemoryRegistry());
    await volumes.create(recordOf('photos'));
    expect(await codeOf(volumes.create(recordOf('photos')))).toBe('HF_EXISTS');
    for (const name of ['', 'Photos', 'a/b', '.a', 'a'.repeat(64)]) {
      expect(await codeOf(volumes.create(recordOf(name)))).toBe('HF_BAD_ARGUMENT');
    }
  });

  it('take another policy, also when another change comes between', async () => {
    const registry = new MemoryRegistry();
    const volumes = openVolumes(registry);
    await volumes.create(recordOf('photos'));
    let isFirst = true;
    const racing = openVolumes({
      get: async (key) => {
        const found = await registry.get(key);
        if (isFirst) await registry.compareAndSet(key, found?.version ?? 0, found?.value);
        isFirst = false;
        return found;
      },
      list: (prefix) => registry.list(prefix),
      compareAndSet: (key, expected, value) => registry.compareAndSet(key, expected, value),
      [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
    });
    const policy = parsePolicy('copy-3,ida-3of5');
    expect(await racing.change('photos', { policy })).toEqual(recordOf('photos', { policy }));
    expect((await volumes.get('photos'))?.policy).toEqual(policy);
    expect(await codeOf(volumes.change('none', { policy }))).toBe('HF_NOT_FOUND');
  });

  it('lengthen a retention and never shorten it', async () => {
    const volumes = openVolumes(new MemoryRegistry());
    await volumes.create(recordOf('worm', { retention: { retentionMs: 1000 } }));
    await volumes.create(recordOf('plain'));
    const retain = async (name: string, retentionMs: number | undefined) =>
      await codeOf(volumes.change(name, { retention: { retentionMs } }));
    expect(await retain('worm', 999)).toBe('HF_WORM');
    expect(await retain('worm', 1000)).toBeUndefined();
    expect(await retain('worm', 2000)).toBeUndefined();
    expect(await retain('worm', 1000)).toBe('HF_WORM');
    expect(await retain('worm', undefined)).toBeUndefined();
    expect(await retain('worm', 2 ** 50)).toBe('HF_WORM');
    expect(await retain('plain', 1)).toBe('HF_BAD_ARGUMENT');
    expect((await volumes.get('worm'))?.retention).toEqual({ retentionMs: undefined });
  });

  it('of the first version have one scheme', async () => {
    const registry = new MemoryRegistry();
    const old = new ByteWriter(64).u8(1).raw(fromHex(ID)).text('photos').u16(18).u8(1).u64(123);
    await registry.compareAndSet('volume/photos', 0, old.finish());
    expect(await openVolumes(registry).get('photos')).toEqual(recordOf('photos'));
  });

  it('that are damaged in the registry are HF_CORRUPT', async () => {
    const registry = new MemoryRegistry();
    await registry.compareAndSet('volume/bad', 0, new Uint8Array([1, 2, 3]));
    await registry.compareAndSet('volume/newer', 0, new Uint8Array([9, 2, 3]));
    const volumes = openVolumes(registry);
    expect(await codeOf(volumes.get('bad'))).toBe('HF_CORRUPT');
    expect(await codeOf(volumes.get('newer'))).toBe('HF_CORRUPT');
  });
});
