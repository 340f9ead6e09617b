/** What is mounted where, as this process sees it. Source: Linux, proc_pid_mountinfo(5). */
import fs from 'node:fs/promises';

export const MOUNT_INFO = '/proc/self/mountinfo';

export interface Mount {
  /** `major:minor` of the filesystem. */
  readonly device: string;
  /** What of the filesystem is mounted: `/`, or a folder or file of it. */
  readonly root: string;
  readonly point: string;
  /** A device, or whatever the filesystem calls its source. */
  readonly source: string;
}

/** None where the system does not tell. @throws what reading fails with otherwise. */
export async function readMounts(path: string = MOUNT_INFO): Promise<Mount[]> {
  const text = await fs.readFile(path, 'utf8').catch(absent);
  const lines = (text ?? '').split('\n').map((line) => line.split(' '));
  return lines.filter((words) => words.length > 6).map(mountOf);
}

/** id, parent, device, root, point, …, "-", type, source, options. */
function mountOf(words: readonly string[]): Mount {
  return {
    device: words[2]!,
    root: unescape(words[3]!),
    point: unescape(words[4]!),
    source: unescape(words[words.indexOf('-') + 2] ?? ''),
  };
}

/** Blanks and the like are octal there. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/gu, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

/** For what may be missing; whatever else goes wrong is thrown. */
export function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
}
