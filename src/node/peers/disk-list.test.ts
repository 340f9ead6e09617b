/** Aim: what a node tells is bounded and can be printed. Method: machines of files, and by hand. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import * as v from 'valibot';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeDisks } from '../../../test/suites/fake-disks.ts';
import { LIMITS } from '../../base/index.ts';
import { MachineDisks } from '../../device/index.ts';
import { type DiskEntry, DiskList, diskListOf, isCalled, listBytes } from './disk-list.ts';

const BLANK: DiskEntry = { storeId: null, uuid: null, label: null, device: null, path: null };
let folder: string;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-list-'));
});
afterEach(async () => await fs.rm(folder, { recursive: true }));

async function listOf(disks: Parameters<FakeDisks['set']>[0]): Promise<readonly DiskEntry[]> {
  const machine = new FakeDisks(path.join(folder, 'dev'));
  await machine.set(disks);
  return await diskListOf(await MachineDisks.read(machine.sources), []);
}

describe('a list', () => {
  it('begins with what is mounted, and ends at the limit', async () => {
    const many = Array.from({ length: 300 }, (_, i) => ({ name: `sd${i}`, uuid: `${1000 + i}` }));
    const list = await listOf([...many, { name: 'last', label: 'zzz', mountPoints: ['/z'] }]);
    expect(list).toHaveLength(LIMITS.disksPerNodeMax);
    expect(list[0]).toMatchObject({ label: 'zzz', path: '/z' });
    expect(v.is(DiskList, list)).toBe(true);
  });

  it('fits a message whatever is in it', async () => {
    const point = `/${'x'.repeat(1000)}`;
    const mountPoints = [point];
    const many = Array.from({ length: 200 }, (_, i) => ({
      name: `d${i}`,
      uuid: `${i}`,
      mountPoints,
    }));
    const list = await listOf(many);
    expect(list.length).toBeGreaterThan(20);
    expect(listBytes(list)).toBeLessThanOrEqual(LIMITS.diskListBytesMax);
    expect(v.is(DiskList, list)).toBe(true);
  });

  it('has no characters that move the cursor', async () => {
    const [entry] = await listOf([{ name: 'sdb', label: 'a\u001B[2Jb\u202E' }]);
    expect(entry!.label).toBe('a\uFFFD[2Jb\uFFFD');
  });

  it.each([
    [[{ ...BLANK, label: 'a\u001B[2J' }]],
    [[{ ...BLANK, path: 'x'.repeat(1025) }]],
    [[{ ...BLANK, more: 1 }]],
    [[{ label: 'x' }]],
    [Array(257).fill(BLANK)],
    [Array(100).fill({ ...BLANK, label: 'x'.repeat(1000) })],
    ['x'],
  ])('of another kind is refused', (list) => {
    expect(v.is(DiskList, list)).toBe(false);
  });
});

describe('a name', () => {
  const store = { ...BLANK, storeId: '3f2a91c0'.repeat(4), label: 'BOOKS' };
  const disk = { ...BLANK, uuid: '12AB-34CD' };

  it('is a label, or the beginning of an id', () => {
    for (const name of ['BOOKS', '3f2a', '3F2A91']) expect(isCalled(store, name)).toBe(true);
    for (const name of ['books', '3f2', '91c0', '']) expect(isCalled(store, name)).toBe(false);
    expect([isCalled(disk, '12ab-34cd'), isCalled(disk, '34CD')]).toEqual([true, false]);
  });
});
