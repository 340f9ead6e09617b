/** What is mounted where, as this process sees it. Source: Linux, proc_pid_mountinfo(5). */
import fs from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SOURCE_PREFIX, TYPE } from './mount-options.ts';

const MOUNT_INFO = '/proc/self/mountinfo';

export interface MountInfo {
  /** `major:minor`; of FUSE the minor number names the connection. */
  readonly device: string;
  readonly mountpoint: string;
  readonly type: string;
  readonly source: string;
}

/** Those of ours, alive or not, in the order in which they were mounted; none without a /proc. */
export async function ourMounts(): Promise<MountInfo[]> {
  const text = await fs.readFile(MOUNT_INFO, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const all = parseMountInfo(text);
  return all.filter(({ type, source }) => type === TYPE && source.startsWith(SOURCE_PREFIX));
}

/** The one of ours that is on top at this place. */
export async function ourMountAt(mountpoint: string): Promise<MountInfo | undefined> {
  return (await ourMounts()).findLast((mount) => mount.mountpoint === mountpoint);
}

/**
 * The place of the one of ours that a path is or lies in; there need be nothing at the path, and
 * no mount is asked.
 */
export async function ourMountOver(path: string): Promise<string | undefined> {
  const absolute = resolve(path);
  const mounts = await ourMounts();
  const isIn = (place: string): boolean => absolute === place || absolute.startsWith(`${place}/`);
  return mounts.find(({ mountpoint }) => isIn(mountpoint))?.mountpoint;
}

/** As many links as Linux follows. */
const LINKS_MAX = 40;

/**
 * Where a path is as mounts are named, without a look at itself: what is mounted there may be dead.
 * @throws what realpath(3) says of its parent.
 */
export async function placeOf(path: string, linksLeft: number = LINKS_MAX): Promise<string> {
  const absolute = resolve(path);
  const place = join(await fs.realpath(dirname(absolute)), basename(absolute));
  // Of a directory, alive or dead, this says without asking it that it is no link.
  const target = linksLeft > 0 ? await fs.readlink(place).catch(() => undefined) : undefined;
  return target === undefined
    ? place
    : await placeOf(resolve(dirname(place), target), linksLeft - 1);
}

/** Lines of: id, parent, device, root, mountpoint, options, …, "-", type, source, options. */
export function parseMountInfo(text: string): MountInfo[] {
  return text.split('\n').flatMap((line) => {
    const [before, after] = line.split(' - ');
    const [, , device, , mountpoint] = before?.split(' ') ?? [];
    const [type, source] = after?.split(' ') ?? [];
    if (!device || !mountpoint || !type || source === undefined) return [];
    return [{ device, mountpoint: unescape(mountpoint), type, source: unescape(source) }];
  });
}

/** Blanks, line ends and backslashes are octal there. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/gu, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}
