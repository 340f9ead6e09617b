/**
 * Aim: the store in memory answers as the extent store does, and fails as it is told.
 * Method: the suite, and its hooks one by one.
 */
import { describe, expect, it } from 'vitest';
import { chunkStoreSuite } from '../../test/suites/chunk-store.ts';
import { testChunk } from '../../test/suites/store-fixtures.ts';
import { type DeviceId } from '../base/index.ts';
import { MemoryChunkStore } from './index.ts';

const id = 'e'.repeat(32) as DeviceId;

chunkStoreSuite('memory', async () => {
  const store = new MemoryChunkStore({ id });
  return {
    store,
    damage: async (chunk) => store.flip(chunk.id, 0),
    [Symbol.asyncDispose]: async () => await store[Symbol.asyncDispose](),
  };
});

describe('chunk store in memory', () => {
  it('fails, loses and fills up as told', async () => {
    const store = new MemoryChunkStore({ id, sizeBytes: 2 * 4096 });
    const [first, second] = [testChunk(1, 3000), testChunk(2, 3000)];
    await store.put(first.id, first.bytes, { generation: 0 });
    const full = store.put(second.id, second.bytes, { generation: 0 });
    await expect(full).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    store.fault = (operation) => (operation === 'get' ? 'HF_IO' : undefined);
    await expect(store.get(first.id)).rejects.toMatchObject({ code: 'HF_IO' });
    store.fault = undefined;
    expect(store.lose(first.id)).toBe(true);
    expect(await store.get(first.id)).toBeUndefined();
    await store.put(second.id, second.bytes, { generation: 0 });
    store.state = 'failed';
    await expect(store.get(second.id)).rejects.toMatchObject({ code: 'HF_DEVICE_FAILED' });
  });
});
