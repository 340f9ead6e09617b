/**
 * The acts that change a tree, each durable when it has returned: what is removed or renamed after
 * it rests on it. Tests hand in one that stops at a chosen act.
 */
import fs from 'node:fs/promises';
import path from 'node:path';

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
      await syncPath(path.dirname(place), { isFolder: true });
    }
  },
  async rename(from, to) {
    await fs.rename(from, to);
    await syncPath(path.dirname(to), { isFolder: true });
    if (path.dirname(from) !== path.dirname(to)) {
      await syncPath(path.dirname(from), { isFolder: true });
    }
  },
  async remove(file) {
    await fs.unlink(file);
    await syncPath(path.dirname(file), { isFolder: true });
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
    await syncPath(file, { isFolder: false });
    await syncPath(path.dirname(file), { isFolder: true });
  },
};

async function syncPath(place: string, { isFolder }: { isFolder: boolean }): Promise<void> {
  await using handle = await fs.open(place, 'r');
  try {
    await handle.sync();
  } catch (error) {
    // Some filesystems cannot sync a folder; there is nothing more to be done then.
    if (!isFolder || (error as NodeJS.ErrnoException).code === 'EIO') throw error;
  }
}
