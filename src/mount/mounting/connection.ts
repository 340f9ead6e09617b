/**
 * The control files of a FUSE connection: the way to end one that somebody still uses, or whose
 * server hangs. Source: Linux, Documentation/filesystems/fuse.rst ("Control filesystem").
 */
import fs from 'node:fs/promises';
import { run } from './programs.ts';

const CONNECTIONS = '/sys/fs/fuse/connections';

/**
 * Ends it: whoever waits for an answer gets ECONNABORTED, and what was not written is lost.
 * @param device `major:minor` of the mount. @returns whether that could be done.
 */
export async function abortConnection(device: string): Promise<boolean> {
  const file = `${CONNECTIONS}/${device.split(':')[1]}/abort`;
  if (await write(file)) return true;
  // Most systems have it there; where not, root may put it.
  await run({ name: 'mount', words: ['-t', 'fusectl', 'fusectl', CONNECTIONS] }).catch(() => {});
  return await write(file);
}

async function write(file: string): Promise<boolean> {
  return await fs.writeFile(file, '1\n').then(
    () => true,
    () => false,
  );
}
