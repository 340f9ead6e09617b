/**
 * Which key file seals share and chunk files: the one that is named, else `share-key` in the data
 * directory, which is made when it is first needed.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode, HoldfastError } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import type { Session } from './session.ts';

export const KEY_OPTIONS = {
  '--key <file>': 'key file that seals (default: share-key in the data directory)',
  '--plain': 'do not seal: whoever has the files can read them',
} as const;

export interface KeyOptions {
  readonly key?: string;
  readonly plain?: boolean;
}

/** @throws HF_BAD_ARGUMENT when both are asked for. */
export function assertKeyOrPlain({ key, plain }: KeyOptions): void {
  if (!plain || key === undefined) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'give --key or --plain, not both');
}

/** The key to seal with. @throws HF_NOT_FOUND, HF_WRONG_KEY. */
export async function shareKey(session: Session, options: KeyOptions): Promise<Uint8Array> {
  const { readKeyFile, SHARE_KEY_BYTES, SHARE_KEY_FILE, writeKeyFile } =
    await import('../shares/index.ts');
  const found = await existingShareKey(session, options);
  if (found) return found;
  const file = path.join(session.dataPath, SHARE_KEY_FILE);
  const key = realEnv().random.bytes(SHARE_KEY_BYTES);
  await fs.mkdir(session.dataPath, { recursive: true, mode: 0o700 });
  try {
    await writeKeyFile(file, key);
  } catch (error) {
    if (errorCode(error) !== 'HF_EXISTS') throw error;
    return await readKeyFile(file); // another command made it just now
  }
  session.note(
    `holdfast: made the key file ${file}; nothing that it seals can be read without it: ` +
      'keep a copy elsewhere',
  );
  return key;
}

/** The key to open with; `undefined` where none is named and none was made. */
export async function existingShareKey(
  session: Session,
  { key }: KeyOptions,
): Promise<Uint8Array | undefined> {
  const { readKeyFile, SHARE_KEY_FILE } = await import('../shares/index.ts');
  if (key !== undefined) return await readKeyFile(session.resolve(key));
  const file = path.join(session.dataPath, SHARE_KEY_FILE);
  return await readKeyFile(file).catch((error: unknown) => {
    if (errorCode(error) !== 'HF_NOT_FOUND') throw error;
    return undefined;
  });
}

/** The key to open with. @throws HF_NOT_FOUND when none is named and none was made. */
export async function neededKey(session: Session, options: KeyOptions): Promise<Uint8Array> {
  const key = await existingShareKey(session, options);
  if (key) return key;
  const { SHARE_KEY_FILE } = await import('../shares/index.ts');
  const file = path.join(session.dataPath, SHARE_KEY_FILE);
  const message =
    `there is no key file ${file}, and the shares are sealed: bring it back from its copy, or ` +
    'name the key file that sealed them with --key';
  throw new HoldfastError('HF_NOT_FOUND', message);
}
