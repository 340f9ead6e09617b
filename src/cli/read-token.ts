/** The token of an invitation, from where the user keeps it: never from the command line itself. */
import fs from 'node:fs/promises';
import { HoldfastError } from '../base/index.ts';
import type { Session } from './session.ts';

/** A token is a line of at most 300 characters; what is longer is none. */
const TOKEN_BYTES_MAX = 64 * 1024;
/** A token must not be shown whole. */
const FILE_CHARS_MAX = 40;

/** The token in a file, or on standard input. @throws HF_BAD_ARGUMENT when there is none. */
export async function readToken(session: Session, file: string | undefined): Promise<string> {
  const text = await (file === undefined || file === '-'
    ? readStdin(session)
    : readFile(session, file));
  if (text.trim() !== '') return text;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'there is no token; it is what invite prints');
}

/** @throws HF_NOT_FOUND, in words: the token itself is often given in place of the file. */
async function readFile(session: Session, file: string): Promise<string> {
  try {
    return await fs.readFile(session.resolve(file), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const shown = file.length > FILE_CHARS_MAX ? `${file.slice(0, FILE_CHARS_MAX)}…` : file;
    const message = `there is no file "${shown}"; name the file with what invite printed`;
    throw new HoldfastError('HF_NOT_FOUND', message, { cause: error });
  }
}

async function readStdin({ io }: Session): Promise<string> {
  const pieces: Buffer[] = [];
  let lengthBytes = 0;
  for await (const piece of io.stdin) {
    pieces.push(piece as Buffer);
    lengthBytes += (piece as Buffer).length;
    if (lengthBytes > TOKEN_BYTES_MAX) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'standard input is no token: it is too long');
    }
  }
  return Buffer.concat(pieces).toString('utf8');
}
