/** Aim: disks are known by label and uuid, and by where they are. Method: a machine of files. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FakeDisks } from '../../test/suites/fake-disks.ts';
import { MachineDisks } from './machine-disks.ts';

let folder: string;
let machine: FakeDisks;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-disks-'));
  machine = new FakeDisks(path.join(folder, 'dev'));
});
afterEach(async () => await fs.rm(folder, { recursive: true }));

it('knows label, uuid, device and mount points of each', async () => {
  await machine.set([
    { name: 'sdb1', label: 'My Büch/er', uuid: '12-AB', mountPoints: ['/a b', '/c'] },
    { name: 'sdc1', uuid: '34-CD' },
    { name: 'sdd1', mountPoints: ['/nameless'] },
  ]);
  const disks = await MachineDisks.read(machine.sources);
  expect(disks.filesystems).toEqual([
    {
      label: 'My Büch/er',
      uuid: '12-AB',
      device: machine.device('sdb1'),
      mountPoints: ['/a b', '/c'],
    },
    { label: undefined, uuid: '34-CD', device: machine.device('sdc1'), mountPoints: [] },
  ]);
  expect(disks.withLabel('My Büch/er')).toEqual(['/a b', '/c']);
  expect([disks.knowsLabels, disks.isMountPoint('/nameless')]).toEqual([true, true]);
});

it('has nothing to tell by where nobody keeps links', async () => {
  const { filesystems, knowsLabels, mountPoints } = await MachineDisks.read(machine.sources);
  expect({ filesystems, knowsLabels, mountPoints }).toEqual({
    filesystems: [],
    knowsLabels: false,
    mountPoints: [],
  });
});

it('passes over a link whose disk was pulled out', async () => {
  await machine.set([{ name: 'sdb1', label: 'A', uuid: '1' }]);
  await fs.rm(machine.device('sdb1'));
  expect((await MachineDisks.read(machine.sources)).filesystems).toEqual([]);
});

it('takes no folder that is bound elsewhere for the filesystem', async () => {
  await machine.set([{ name: 'sdb1', label: 'A' }]);
  const line = `36 35 7:99 /etc/hosts /hosts rw - ext4 ${machine.device('sdb1')} rw\n`;
  await fs.writeFile(machine.sources.mountInfoPath, line);
  const [disk] = (await MachineDisks.read(machine.sources)).filesystems;
  expect(disk).toMatchObject({ label: 'A', mountPoints: [] });
});
