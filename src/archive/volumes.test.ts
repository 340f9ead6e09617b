/** Aim: B2, a volume is found by its label and nothing else. Method: links and mounts made up. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MachineDisks } from '../device/index.ts';
import { Volumes } from './volumes.ts';

let folder: string;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-volumes-'));
  await fs.mkdir(path.join(folder, 'media', 'A'), { recursive: true });
});

afterEach(async () => await fs.rm(folder, { recursive: true }));

async function volumes(mounts: readonly string[]): Promise<Volumes> {
  const mountInfoPath = path.join(folder, 'mountinfo');
  await fs.writeFile(mountInfoPath, mounts.map((line) => `${line}\n`).join(''));
  const [byLabelPath, byUuidPath] = [path.join(folder, 'by-label'), path.join(folder, 'by-uuid')];
  const disks = await MachineDisks.read({ byLabelPath, byUuidPath, mountInfoPath });
  return new Volumes(path.join(folder, 'media'), disks);
}

const mount = (point: string, source: string) =>
  `36 35 7:99 / ${point.replaceAll(' ', '\\040')} rw,noatime shared:1 - ext4 ${source} rw`;

describe('by links of the kernel', () => {
  beforeEach(async () => {
    await fs.mkdir(path.join(folder, 'by-label'));
    await fs.writeFile(path.join(folder, 'sdx1'), '');
    await fs.symlink('../sdx1', path.join(folder, 'by-label', 'My\\x20Disk'));
    await fs.symlink('../sdx1', path.join(folder, 'by-label', 'A'));
  });

  it('is found wherever it is mounted', async () => {
    const found = await volumes([mount('/somewhere else', path.join(folder, 'sdx1'))]);
    expect(await found.withLabel('My Disk')).toEqual(['/somewhere else']);
  });

  it('is not what happens to be mounted at its usual place', async () => {
    const found = await volumes([mount(path.join(folder, 'media', 'A'), '/dev/other')]);
    expect(await found.withLabel('A')).toEqual([]);
    expect(await found.withLabel('none')).toEqual([]);
  });
});

describe('without links', () => {
  it('is a folder of the mount root only when something is mounted there', async () => {
    expect(await (await volumes([])).withLabel('A')).toEqual([]);
    const place = path.join(folder, 'media', 'A');
    expect(await (await volumes([mount(place, '/dev/sdx1')])).withLabel('A')).toEqual([place]);
  });

  it('is a folder with a label file, whatever its name', async () => {
    await fs.writeFile(path.join(folder, 'media', 'A', '.holdfast-label'), 'B\n');
    const found = await volumes([]);
    expect(await found.withLabel('B')).toEqual([path.join(folder, 'media', 'A')]);
    expect(await found.withLabel('A')).toEqual([]);
  });
});
