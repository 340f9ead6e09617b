/**
 * The acts that change a tree, each durable when it has returned: what is removed or renamed after
 * it rests on it. Tests hand in one that stops at a chosen act.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { syncFolder } from '../shares/index.ts';

export interface Disk {
  /** With all that lead to it. */
  makeFolder(folder: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(file: string): Promise<void>;
  /** Only when it is empty. */
  removeFolder(folder: string): Promise<boolean>;
  /** What is in the file, and its name. */
  sync(file: string): Promise<void>;
}

export const realDisk: Disk = {
  async makeFolder(folder) {
    const first = await fs.mkdir(folder, { recursive: true });
    if (first === undefined) return;
    for (let place = folder; place.length >= first.length; place = path.dirname(place)) {
      await syncFolder(path.dirname(place));
    }
  },
  async rename(from, to) {
    await fs.rename(from, to);
    await syncFolder(path.dirname(to));
    if (path.dirname(from) !== path.dirname(to)) await syncFolder(path.dirname(from));
  },
  async remove(file) {
    await fs.unlink(file);
    await syncFolder(path.dirname(file));
  },
  async removeFolder(folder) {
    try {
      await fs.rmdir(folder);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOENT') return false;
      throw error;
    }
  },
  async sync(file) {
    await using handle = await fs.open(file, 'r');
    await handle.sync();
    await syncFolder(path.dirname(file));
  },
};
