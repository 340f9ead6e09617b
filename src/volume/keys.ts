/**
 * Keys of objects: paths of names joined by '/'. A directory's name carries the '/' at its end, so
 * that a file `a` and a directory `a/` may stand side by side, as S3 has it.
 */
import { HoldfastError, LIMITS, utf8 } from '../base/index.ts';

export interface KeyPath {
  /** Names of the directories on the way, each with its '/'. */
  readonly directories: readonly string[];
  readonly name: string;
}

/** @throws HF_BAD_ARGUMENT with what is wrong with the key. */
export function parseKey(key: string): KeyPath {
  if (key === '') throw bad(key, 'it is empty');
  if (utf8(key).length > LIMITS.keyBytesMax) {
    throw bad(`${key.slice(0, 40)}…`, `it has more than ${LIMITS.keyBytesMax} bytes`);
  }
  const names = key.split('/');
  for (const name of names) {
    if (name === '') throw bad(key, "it begins or ends with '/' or has two in a row");
    if (name === '.' || name === '..') throw bad(key, `"${name}" is no name`);
    if (name.includes('\0')) throw bad(key, 'it has a zero byte');
    if (utf8(name).length > LIMITS.nameBytesMax) {
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

function bad(key: string, reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', `"${key}" cannot be a key: ${reason}`);
}
