/**
 * What a share file says of itself, without reading its share: header, length and trailer
 * (docs/formats/share-file.md). The content is checked by `shares`.
 */
import fs from 'node:fs/promises';
import { asBuffer, ByteReader, errorCode, toHex } from '../base/index.ts';
import { ENVELOPE_BYTES, InputFile, readEnvelope } from '../shares/index.ts';

export interface ShareHead {
  readonly k: number;
  readonly width: number;
  /** Of the plain file. */
  readonly plainBytes: number;
  /** Hexadecimal; of a sealed file. */
  readonly fileId: string | undefined;
  /** Hexadecimal; no two shares of a file have the same. */
  readonly row: string;
  /** Only sealed ones know theirs. */
  readonly shareNumber: number | undefined;
}

const OPTION_WIDE_K = 1;
const OPTION_WIDE_W = 2;
const OPTION_FINAL = 4;
const OPTION_ROW = 8;
const HEAD_BYTES = 4096;
const TRAILER_BYTES = 144;

/** The head, or what is wrong with it. */
export async function readShareHead(file: string): Promise<ShareHead | string> {
  try {
    await using input = await InputFile.open(file);
    return await readHead(input);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (errorCode(error) === 'HF_CORRUPT' || code === 'HF_UNSUPPORTED' || code === 'EIO') {
      return message;
    }
    throw error;
  }
}

async function readHead(input: InputFile): Promise<ShareHead | string> {
  const bytes = new Uint8Array(Math.min(HEAD_BYTES, input.size));
  await input.read(bytes, 0);
  const reader = new ByteReader(bytes, 'its header');
  if (bytes.length < 8 || asBuffer(reader.raw(2)).toString('latin1') !== 'SF') {
    return 'it is no share file';
  }
  const version = reader.u8();
  const options = reader.u8();
  const k = options & OPTION_WIDE_K ? reader.u16be() : reader.u8();
  const width = options & OPTION_WIDE_W ? reader.u16be() : reader.u8();
  if (version !== 1 || k === 0 || ![1, 2, 4].includes(width)) return 'its header is impossible';
  const start = readOffset(reader);
  const next = readOffset(reader);
  if (start !== 0 || !(options & OPTION_FINAL)) return 'it is a share of a part of a file';
  if (!(options & OPTION_ROW)) return 'its matrix row is not in it';
  const row = toHex(reader.raw(k * width));
  const dataBytes = Math.ceil(next / (k * width)) * width;
  const extra = input.size - (bytes.length - reader.left) - dataBytes;
  const head = { k, width, row };
  if (extra === 0) return { ...head, plainBytes: next, fileId: undefined, shareNumber: undefined };
  if (extra < 0) return `it is cut short by ${-extra} bytes or more`;
  if (extra !== TRAILER_BYTES) return 'it is too long, or its trailer is cut short';
  const trailer = Buffer.alloc(TRAILER_BYTES);
  await input.read(trailer, input.size - TRAILER_BYTES);
  if (trailer.toString('latin1', 0, 8) !== 'HFSHARE1') return 'its trailer is damaged';
  const { size, fileId } = readEnvelope(trailer.subarray(16, 16 + ENVELOPE_BYTES));
  const shareNumber = trailer.readUInt32LE(8);
  return { ...head, plainBytes: size, fileId: toHex(fileId), shareNumber };
}

function readOffset(reader: ByteReader): number {
  return reader.raw(reader.u8()).reduce((value, byte) => value * 256 + byte, 0);
}

/** What is at a path; `undefined` when nothing is. */
export interface FileFact {
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'other';
  readonly size: number;
  readonly mtimeNs: string;
  readonly ino: bigint;
}

/** A link is not followed: it is `other`. */
export async function lookAt(place: string): Promise<FileFact | undefined> {
  const stat = await fs.lstat(place, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (!stat) return undefined;
  const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : 'other';
  const { size, mtimeNs, ino } = stat;
  return { path: place, kind, size: Number(size), mtimeNs: String(mtimeNs), ino };
}

/** Whether nobody has touched it since it was looked at. */
export async function isUntouched(fact: FileFact): Promise<boolean> {
  const now = await lookAt(fact.path);
  return now?.kind === fact.kind && now.size === fact.size && now.mtimeNs === fact.mtimeNs
    ? now.ino === fact.ino
    : false;
}
