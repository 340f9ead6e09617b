/** What is at a path, and whether it stays so while it is worked with. */
import fs from 'node:fs/promises';
import { HoldfastError } from '../base/index.ts';

export interface FileFact {
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'other';
  readonly size: number;
  readonly mtimeNs: string;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
  readonly dev: bigint;
}

/** `undefined` when nothing is there. A link is not followed: it is `other`. */
export async function lookAt(place: string): Promise<FileFact | undefined> {
  const stat = await fs.lstat(place, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (!stat) return undefined;
  const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : 'other';
  const { size, mtimeNs, ctimeNs, ino, dev } = stat;
  return { path: place, kind, size: Number(size), mtimeNs: String(mtimeNs), ctimeNs, ino, dev };
}

/** That nobody has touched them since they were looked at. @throws HF_BUSY. */
export async function assertUntouched(facts: readonly FileFact[]): Promise<void> {
  for (const fact of facts) {
    const now = await lookAt(fact.path);
    const isSame = now?.ino === fact.ino && now.dev === fact.dev && now.ctimeNs === fact.ctimeNs;
    if (isSame) continue;
    const message = `${fact.path} was changed while it was looked at; try again`;
    throw new HoldfastError('HF_BUSY', message);
  }
}
