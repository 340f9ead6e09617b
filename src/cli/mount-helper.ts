/**
 * The *helper*: what mount(8) runs for `-t holdfast` and for such lines of fstab. It is a script
 * that calls `holdfast mount` with the words of mount(8), and knows this Node, this program and
 * this data directory: at boot there is no PATH and no home to look for them. It fails with 32, as
 * mount(8) expects. umount(8) needs none. Source: mount(8), "EXTERNAL HELPERS".
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '../base/index.ts';

/** Where mount(8) looks for helpers. */
export const HELPER_FOLDER = '/sbin';
const HELPER = 'mount.holdfast';
/** For who says the type as the kernel shows it. */
const LINK = 'mount.fuse.holdfast';
const MARK = '# Written by: holdfast mount --install-helper';

/** @returns the files. @throws HF_EXISTS for what others put there; HF_DENIED, HF_NOT_FOUND. */
export async function installHelper(folder: string, dataPath: string): Promise<string[]> {
  const helper = path.join(folder, HELPER);
  const link = path.join(folder, LINK);
  const present = await fs.readFile(helper, 'utf8').catch(() => undefined);
  if (present !== undefined && !present.includes(MARK)) {
    throw new HoldfastError('HF_EXISTS', `${helper} is there, and is not ours`);
  }
  const temporary = `${helper}.new`;
  await fs.writeFile(temporary, helperScript(dataPath), { mode: 0o755 }).catch((cause: Error) => {
    throw folderProblem(folder, cause);
  });
  await fs.rename(temporary, helper);
  await fs.rm(link, { force: true });
  await fs.symlink(HELPER, link);
  return [helper, link];
}

function folderProblem(folder: string, cause: NodeJS.ErrnoException): Error {
  switch (cause.code ?? '') {
    case 'EACCES':
      return new HoldfastError('HF_DENIED', `this user may not write to ${folder}; try sudo`, {
        cause,
      });
    case 'ENOENT':
      return new HoldfastError('HF_NOT_FOUND', `there is no folder ${folder}`, { cause });
    default:
      return cause;
  }
}

function helperScript(dataPath: string): string {
  const program = fileURLToPath(new URL('../../bin/holdfast.js', import.meta.url));
  const words = [process.execPath, program, 'mount', '--data', dataPath, '--as-helper'];
  return `#!/bin/sh
${MARK}
${words.map(quoted).join(' ')} "$@" || exit 32
`;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
