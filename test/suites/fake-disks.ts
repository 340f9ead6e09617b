/** The disks of a machine for tests: links as udev keeps them, and mounts, as files in a folder. */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { DiskSources } from '../../src/device/index.ts';

export interface FakeDisk {
  /** Such as sdb1. */
  readonly name: string;
  readonly label?: string;
  readonly uuid?: string;
  readonly mountPoints?: readonly string[];
}

export class FakeDisks {
  readonly sources: DiskSources;
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.sources = {
      byLabelPath: path.join(folder, 'by-label'),
      byUuidPath: path.join(folder, 'by-uuid'),
      mountInfoPath: path.join(folder, 'mountinfo'),
    };
  }

  device(name: string): string {
    return path.join(this.#folder, name);
  }

  /** From now on the machine has these and no others. */
  async set(disks: readonly FakeDisk[]): Promise<void> {
    const { byLabelPath, byUuidPath, mountInfoPath } = this.sources;
    await fs.rm(this.#folder, { recursive: true, force: true });
    for (const folder of [byLabelPath, byUuidPath]) await fs.mkdir(folder, { recursive: true });
    const lines: string[] = [];
    for (const { name, label, uuid, mountPoints = [] } of disks) {
      const device = this.device(name);
      await fs.writeFile(device, '');
      if (label !== undefined) await fs.symlink(device, path.join(byLabelPath, encodeLink(label)));
      if (uuid !== undefined) await fs.symlink(device, path.join(byUuidPath, encodeLink(uuid)));
      lines.push(...mountPoints.map((point) => mountLine(point, device)));
    }
    await fs.writeFile(mountInfoPath, lines.join(''));
  }
}

function mountLine(point: string, source: string): string {
  return `36 35 7:99 / ${point.replaceAll(' ', '\\040')} rw shared:1 - ext4 ${source} rw\n`;
}

/** As udev writes names of links. */
function encodeLink(name: string): string {
  const bytes = [...Buffer.from(name)].map((byte) => {
    const isPlain = /[\w#+.:=@-]/.test(String.fromCharCode(byte));
    return isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return bytes.join('');
}
