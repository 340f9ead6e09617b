/**
 * Aim: what fails together has one label, whatever way it is reached. Method: the disks of this
 * machine as sysfs lists them; a loop device over a file, where there are any.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { LIMITS } from '../base/index.ts';
import { attachLoop, describeWithLoop } from '../../test/suites/loop-device.ts';
import { diskLabel } from './disk-label.ts';
import { filesystemOf } from './filesystem.ts';

async function numberOf(folder: string) {
  const text = await fs.readFile(path.join(folder, 'dev'), 'utf8');
  const [major, minor] = text.trim().split(':').map(Number);
  return { major: major!, minor: minor! };
}

async function labelUnder(file: string): Promise<string> {
  return await diskLabel((await filesystemOf(file)).deviceNumber);
}

describe('diskLabel', () => {
  it('is the same for a disk and its partitions', async () => {
    for (const name of await fs.readdir('/sys/class/block').catch(() => [])) {
      const folder = await fs.realpath(path.join('/sys/class/block', name));
      const label = await diskLabel(await numberOf(folder));
      expect(label).toMatch(/^disk-.+/);
      const isPartition = await fs.access(path.join(folder, 'partition')).then(
        () => true,
        () => false,
      );
      if (isPartition) expect(label).toBe(await diskLabel(await numberOf(path.dirname(folder))));
    }
  });

  it('is the same everywhere on a filesystem, and its own where there is no disk', async () => {
    await using file = await fs.mkdtempDisposable(path.join(os.tmpdir(), 'holdfast-label-'));
    expect(await labelUnder(file.path)).toBe(await labelUnder(os.tmpdir()));
    expect(await diskLabel({ major: 0, minor: 4711 })).toBe('disk-0:4711');
  });
});

describeWithLoop('diskLabel of a loop device', () => {
  it('is that of the disk under its file', async () => {
    await using loop = await attachLoop({ sizeBytes: LIMITS.deviceBytesMin });
    const folder = path.join('/sys/class/block', path.basename(loop.path));
    expect(await diskLabel(await numberOf(folder))).toBe(await labelUnder(loop.file));
  });
});
