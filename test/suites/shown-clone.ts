/**
 * This clone at another place, for programs of users who may not enter it where it is: below a
 * home, or in a folder that only its owner may enter. For mount namespaces that tests make.
 */
import { realpathSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = realpathSync(fileURLToPath(new URL('../../', import.meta.url)));

/** For sh, as root in such a namespace: shows the clone in a folder, of the namespace's own. */
export function showClone(folder: string): string {
  // The upper one of the two lends the mode of the top directory.
  return `
    mkdir "${folder}/clone" "${folder}/open"; chmod 755 "${folder}" "${folder}/open"
    mount -t overlay -o "lowerdir=${folder}/open:${ROOT}" none "${folder}/clone"`;
}

/** Where a file is then; where it was, if it is not of the clone. */
export function shownIn(folder: string, file: string): string {
  const path = relative(ROOT, realpathSync(file));
  return path.startsWith(`..${sep}`) ? file : join(folder, 'clone', path);
}
