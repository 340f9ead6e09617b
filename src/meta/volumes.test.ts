// Aim: volumes are made once, found by name, changed without losing another change. Method: the
// memory registry, and one whose key changes between reading and writing.
import { describe, expect, it } from 'vitest';
import { errorCode, parseScheme, type VolumeId } from '../base/index.ts';
import { MemoryRegistry } from '../log/index.ts';
import { openVolumes, type VolumeRecord } from './volumes.ts';

function recordOf(name: string): VolumeRecord {
  return {
    id: '0123456789abcdef'.repeat(2) as VolumeId,
    name,
    scheme: parseScheme('rs-4+2'),
    isDeduplicating: true,
    createdAtMs: 123,
  };
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

describe('Volumes', () => {
  it('are listed by name and read back as made', async () => {
    const volumes = openVolumes(new MemoryRegistry());
    await volumes.create(recordOf('photos'));
    await volumes.create({ ...recordOf('archive.2'), isDeduplicating: false });
    expect(await volumes.get('photos')).toEqual(recordOf('photos'));
    expect(await volumes.get('none')).toBeUndefined();
    expect((await volumes.list()).map(({ name }) => name).sort()).toEqual(['archive.2', 'photos']);
  });

  it('are not made twice, nor with a name that is none', async () => {
    const volumes = openVolumes(new MemoryRegistry());
    await volumes.create(recordOf('photos'));
    expect(await codeOf(volumes.create(recordOf('photos')))).toBe('HF_EXISTS');
    for (const name of ['', 'Photos', 'a/b', '.a', 'a'.repeat(64)]) {
      expect(await codeOf(volumes.create(recordOf(name)))).toBe('HF_BAD_ARGUMENT');
    }
  });

  it('take another scheme, also when another change comes between', async () => {
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
    const scheme = parseScheme('copy-3');
    expect(await racing.setScheme('photos', scheme)).toEqual({ ...recordOf('photos'), scheme });
    expect((await volumes.get('photos'))?.scheme).toEqual(scheme);
    expect(await codeOf(volumes.setScheme('none', scheme))).toBe('HF_NOT_FOUND');
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
