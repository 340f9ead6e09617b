/**
 * Aim: what is to be mounted again is known to the next life, and is not known when writing it down
 * failed. Method: a real data directory; one whose disk is full.
 */
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { MountView } from '../../api/index.ts';
import { HoldfastError } from '../../base/index.ts';
import { DataDirectory } from '../data-directory.ts';
import { KeptMounts } from './kept-mounts.ts';

let folder: string;

beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), 'kept-mounts-'));
});

afterEach(async () => await fs.rm(folder, { recursive: true }));

const view = (directory: string, isReadOnly = false): MountView => ({
  volume: 'default',
  directory,
  isReadOnly,
  allowsOthers: true,
  forbidsPrograms: false,
  hasLocalLocks: false,
  endsWithUmount: true,
  mountedAtMs: 1,
});

it('keeps one mount of each directory until it is taken off', async () => {
  await using data = await DataDirectory.open(folder);
  const kept = await KeptMounts.open(data);
  expect(kept.all()).toEqual([]);
  await kept.add(view('/a'));
  await kept.add(view('/b'));
  await kept.add(view('/a', true));
  await kept.remove('/nothing');
  const later = await KeptMounts.open(data);
  expect(later.all()).toEqual([view('/a', true), view('/b')]);
  await later.remove('/a');
  expect((await KeptMounts.open(data)).get('/a')).toBeUndefined();
});

it('does not know what could not be written down', async () => {
  const full = new HoldfastError('HF_NO_SPACE', 'no space');
  const kept = await KeptMounts.open({
    readMounts: async () => [view('/a')],
    writeMounts: async () => await Promise.reject(full),
  });
  await expect(kept.add(view('/a', true))).rejects.toBe(full);
  await expect(kept.add(view('/b'))).rejects.toBe(full);
  expect(kept.all()).toEqual([view('/a')]);
});

it('refuses a list that it cannot read', async () => {
  await using data = await DataDirectory.open(folder);
  await fs.writeFile(join(folder, 'mounts.json'), '{"version":1,"mounts":[{}]}');
  await expect(KeptMounts.open(data)).rejects.toMatchObject({ code: 'HF_CORRUPT' });
});
