/**
 * The key file of sealed share and chunk files: one line of text,
 *
 *     holdfast-share-key-1 <the share key, 32 bytes in hexadecimal> <checksum, 8 digits>
 *
 * The checksum is the beginning of SHA-256 over what stands before it, and finds typing errors. The
 * file is readable by its owner only. Whoever has it and enough shares reads the file; without it
 * nobody does.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import { assert, fromHex, HoldfastError, toHex } from '../base/index.ts';
import { OutputFile } from './files.ts';

export const SHARE_KEY_BYTES = 32;

/** Name of the default key file in the data directory. */
export const SHARE_KEY_FILE = 'share-key';

const TITLE = 'holdfast-share-key-1';
const CHECKSUM_DIGITS = 8;
/** A key file is a hundred bytes; whatever is longer is something else. */
const TEXT_BYTES_MAX = 4096;

/** @throws HF_NOT_FOUND, HF_WRONG_KEY when it is no key file, HF_CORRUPT when it is damaged. */
export async function readKeyFile(file: string): Promise<Uint8Array> {
  return parseShareKey(await readText(file), file);
}

/** @param name of where the text comes from, for messages. */
function parseShareKey(text: string, name: string): Uint8Array {
  const [title, hex = '', checksum, ...more] = text.trim().split(/\s+/);
  if (title !== TITLE || more.length > 0) {
    throw new HoldfastError('HF_WRONG_KEY', `${name} is no share key`);
  }
  if (!/^[0-9a-f]{64}$/.test(hex) || checksum !== checksumOf(hex)) {
    throw new HoldfastError('HF_CORRUPT', `the share key in ${name} is damaged or mistyped`);
  }
  return fromHex(hex);
}

/** One line with its line feed; secret. */
export function formatShareKey(key: Uint8Array): string {
  assert(key.length === SHARE_KEY_BYTES, 'a share key is 32 bytes');
  const hex = toHex(key);
  return `${TITLE} ${hex} ${checksumOf(hex)}\n`;
}

/** Overwrites nothing, and is durable when it returns. @throws HF_EXISTS. */
export async function writeKeyFile(file: string, key: Uint8Array): Promise<void> {
  await writeSecretFile(file, formatShareKey(key));
}

/** A new file, readable by its owner only, that is whole and durable. @throws HF_EXISTS. */
export async function writeSecretFile(file: string, text: string | Uint8Array): Promise<void> {
  await using output = await OutputFile.create(file, { mode: 0o600 });
  await output.write(Buffer.from(text), 0);
  await output.commit();
}

async function readText(file: string): Promise<string> {
  const handle = await fs.open(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause;
    throw new HoldfastError('HF_NOT_FOUND', `there is no key file ${file}`, { cause });
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(TEXT_BYTES_MAX));
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

function checksumOf(hex: string): string {
  return createHash('sha256').update(`${TITLE} ${hex}`).digest('hex').slice(0, CHECKSUM_DIGITS);
}
