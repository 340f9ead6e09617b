/**
 * Where the volumes of this machine are mounted, by label. A label is looked up in this order:
 *
 * 1. the kernel's links under /dev/disk/by-label, and the mount points of the device they name;
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

export interface VolumeSources {
  readonly byLabelPath: string;
  readonly mountInfoPath: string;
}

const LINUX: VolumeSources = {
  byLabelPath: '/dev/disk/by-label',
  mountInfoPath: '/proc/self/mountinfo',
};

interface Mount {
  readonly point: string;
  /** "8:1" */
  readonly device: string;
  readonly source: string;
}

export class Volumes {
  readonly #mountRoot: string;
  readonly #byLabelPath: string;
  readonly #mounts: readonly Mount[];

  private constructor(mountRoot: string, byLabelPath: string, mounts: readonly Mount[]) {
    this.#mountRoot = mountRoot;
    this.#byLabelPath = byLabelPath;
    this.#mounts = mounts;
  }

  static async read(mountRoot: string, sources: VolumeSources = LINUX): Promise<Volumes> {
    const text = await fs.readFile(sources.mountInfoPath, 'utf8').catch(absent);
    return new Volumes(mountRoot, sources.byLabelPath, parseMountInfo(text ?? ''));
  }

  /** Folders at which a volume of this label is mounted; usually one or none. */
  async withLabel(label: string): Promise<string[]> {
    const links = await fs.readdir(this.#byLabelPath).catch(absent);
    const points = new Set(
      links
        ? await this.#ofLinks(links, label)
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
  async knowsLabels(): Promise<boolean> {
    return (await fs.readdir(this.#byLabelPath).catch(absent)) !== undefined;
  }

  /** Of local disks: nothing that a network could hold up. */
  get mountPoints(): string[] {
    const local = this.#mounts.filter(({ source }) => source.startsWith('/dev/'));
    return local.map(({ point }) => point);
  }

  async #ofLinks(links: readonly string[], label: string): Promise<string[]> {
    const link = links.find((name) => decodeLink(name) === label);
    if (link === undefined) return [];
    const device = await fs.realpath(path.join(this.#byLabelPath, link)).catch(absent);
    if (device === undefined) return [];
    const { rdev } = await fs.stat(device);
    const number = `${(rdev >> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >> 12) & 0xfff00)}`;
    return this.#mounts
      .filter((mount) => mount.device === number || mount.source === device)
      .map(({ point }) => point);
  }

  #inMountRoot(place: string): string[] {
    return this.#mounts.some(({ point }) => point === place) ? [place] : [];
  }
}

/** proc(5): id, parent, device, root, mount point, …, "-", type, source. Roots only, no binds. */
function parseMountInfo(text: string): Mount[] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .filter((words) => words.length > 6 && words[3] === '/')
    .map((words) => ({
      device: words[2]!,
      point: decodeOctal(words[4]!),
      source: decodeOctal(words[words.indexOf('-') + 2] ?? ''),
    }));
}

function decodeOctal(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 8)),
  );
}

/** As udev writes names of links: \x20 for a space. */
function decodeLink(name: string): string {
  const bytes = name.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => {
    return String.fromCharCode(parseInt(hex, 16));
  });
  return bytes === name ? name : Buffer.from(bytes, 'latin1').toString();
}

/** For what may be missing; whatever else goes wrong is thrown. */
export function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
}
