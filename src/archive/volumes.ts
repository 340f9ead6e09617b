/**
 * Where the volumes of this machine are mounted, by label. A label is looked up in this order:
 *
 * 1. what the machine says: the links under /dev/disk/by-label, and the mount points of the device
 *    they name (`MachineDisks` of module `device`, which is handed in);
 * 2. where there are no such links: the folder LABEL of the mount root, when something is mounted
 *    there;
 * 3. folders of the mount root that hold a *label file* with the label: for what has no label of
 *    its own (network shares, folders).
 *
 * An empty folder that stays behind when a drive is unplugged is none of these.
 */
import fs from 'node:fs/promises';
import path from 'node:path';

export const LABEL_FILE = '.holdfast-label';

/** What the machine says of its disks. */
export interface KnownDisks {
  /** Whether it says which device has which label. */
  readonly knowsLabels: boolean;
  /** Where filesystems with this label are mounted. */
  withLabel(label: string): readonly string[];
  isMountPoint(place: string): boolean;
  /** Of local disks: nothing that a network could hold up. */
  readonly mountPoints: readonly string[];
}

export class Volumes {
  readonly #mountRoot: string;
  readonly #disks: KnownDisks;

  constructor(mountRoot: string, disks: KnownDisks) {
    this.#mountRoot = mountRoot;
    this.#disks = disks;
  }

  /** Folders at which a volume of this label is mounted; usually one or none. */
  async withLabel(label: string): Promise<string[]> {
    const points = new Set(
      this.knowsLabels
        ? this.#disks.withLabel(label)
        : this.#inMountRoot(path.join(this.#mountRoot, label)),
    );
    for (const folder of (await fs.readdir(this.#mountRoot).catch(absent)) ?? []) {
      const place = path.join(this.#mountRoot, folder);
      // A folder that is not ours to read says nothing.
      const text = await fs.readFile(path.join(place, LABEL_FILE), 'utf8').catch(() => undefined);
      if (text?.trim() === label) points.add(place);
    }
    return [...points];
  }

  /** Whether the system says by itself which device has which label. */
  get knowsLabels(): boolean {
    return this.#disks.knowsLabels;
  }

  get mountPoints(): readonly string[] {
    return this.#disks.mountPoints;
  }

  #inMountRoot(place: string): string[] {
    return this.#disks.isMountPoint(place) ? [place] : [];
  }
}

/** For what may be missing; whatever else goes wrong is thrown. */
export function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
}
