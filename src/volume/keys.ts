/**
 * Keys of objects: paths of names joined by '/'. A directory's name carries the '/' at its end, so
 * that a file `a` and a directory `a/` may stand side by side, as S3 has it.
 *
 * Names are bytes, and as text they are read as UTF-8. A byte that belongs to no character, from
 * 0x80 to 0xff, is a lone surrogate in the text, U+DC80 to U+DCFF: so each name has a text of its
 * own, which leads back to it (after PEP 383 of Python).
 */
import { isUtf8 } from 'node:buffer';
import { asBuffer, concatBytes, HoldfastError, LIMITS, utf8 } from '../base/index.ts';

export interface KeyPath {
  /** Names of the directories on the way, each with its '/'. */
  readonly directories: readonly string[];
  readonly name: string;
}

/** @throws HF_BAD_ARGUMENT with what is wrong with the key. */
export function parseKey(key: string): KeyPath {
  if (key === '') throw bad(key, 'it is empty');
  if (nameBytes(key).length > LIMITS.keyBytesMax) {
    throw bad(`${key.slice(0, 40)}…`, `it has more than ${LIMITS.keyBytesMax} bytes`);
  }
  const names = key.split('/');
  for (const name of names) {
    if (name === '') throw bad(key, "it begins or ends with '/' or has two in a row");
    if (name === '.' || name === '..') throw bad(key, `"${name}" is no name`);
    if (name.includes('\0')) throw bad(key, 'it has a zero byte');
    if (nameBytes(name).length > LIMITS.nameBytesMax) {
      throw bad(key, `a name has more than ${LIMITS.nameBytesMax} bytes`);
    }
  }
  const name = names.pop() as string;
  return { directories: names.map((directory) => `${directory}/`), name };
}

/** The key that leads there. */
export function keyOf({ directories, name }: KeyPath): string {
  return [...directories, name].join('');
}

/** U+DC00: what the byte of a lone surrogate is counted from. */
const SURROGATES = 0xdc00;
/** Bytes that a character of UTF-8 may have. */
const CHARACTER_BYTES = [1, 2, 3, 4];

export function nameText(bytes: Uint8Array): string {
  if (isUtf8(bytes)) return asBuffer(bytes).toString();
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const parts = CHARACTER_BYTES.map((length) => bytes.subarray(at, at + length));
    const character = parts.find((part) => isUtf8(part));
    text += character ? asBuffer(character) : String.fromCharCode(SURROGATES + bytes[at]!);
    at += character?.length ?? 1;
  }
  return text;
}

/** @throws HF_BAD_ARGUMENT for a lone surrogate that is no byte. */
export function nameBytes(text: string): Uint8Array {
  if (text.isWellFormed()) return utf8(text);
  const parts = Array.from(text, (character) => {
    if (character.isWellFormed()) return utf8(character);
    const byte = character.charCodeAt(0) - SURROGATES;
    if (byte < 0x80 || byte > 0xff) throw bad(text.toWellFormed(), 'it is no text');
    return Uint8Array.of(byte);
  });
  return concatBytes(...parts);
}

function bad(key: string, reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', `"${key}" cannot be a key: ${reason}`);
}
