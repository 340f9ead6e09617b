/** How results look to people: tables, fields, dates. */
import { formatSize } from './sizes.ts';

/** Columns are as wide as their widest cell; `right` names those that hold numbers. */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  { right = [] }: { readonly right?: readonly string[] } = {},
): string[] {
  const cells = [header, ...rows];
  const widths = header.map((_, column) =>
    Math.max(...cells.map((row) => (row[column] ?? '').length)),
  );
  return cells.map((row) =>
    header
      .map((name, column) => {
        const cell = row[column] ?? '';
        const width = widths[column] ?? 0;
        return right.includes(name) ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
}

export type FieldValue = string | number | boolean | null | undefined;

/** Lines "name : value" with their colons under each other; without those that have no value. */
export function fields(values: Readonly<Record<string, FieldValue>>): string[] {
  const shown = Object.entries(values).filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)} : ${value ?? '-'}`);
}

/** The exact number, and what it is about where that is easier to read. */
export function sizeField(bytes: number): string {
  return bytes < 1024 ? String(bytes) : `${bytes} (${formatSize(bytes)})`;
}

/**
 * A name or key as it is shown: within $'…', as shells read it, where control characters are in it
 * or bytes that are no UTF-8 (lone surrogates, `ObjectView.key`), so that none looks like another.
 */
export function shownName(name: string): string {
  const isPlain = name.isWellFormed() && !/^\$'|\p{Cc}/u.test(name);
  if (isPlain) return name;
  const escaped = Array.from(name, (character) => {
    const code = character.codePointAt(0)!;
    if (character === '\\' || character === "'") return `\\${character}`;
    if (!character.isWellFormed()) return hexByte(code & 0xff);
    return /\p{Cc}/u.test(character)
      ? [...Buffer.from(character)].map(hexByte).join('')
      : character;
  });
  return `$'${escaped.join('')}'`;
}

function hexByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}

/** "drwxr-xr-x", as ls has it. */
export function modeText({ type, mode }: { readonly type: string; readonly mode: number }): string {
  const bits = Array.from('rwxrwxrwx', (letter, i) => ((mode >> (8 - i)) & 1 ? letter : '-'));
  const special = ([at, bit, letter]: readonly [number, number, string]): void => {
    if ((mode & bit) === 0) return;
    bits[at] = bits[at] === '-' ? letter.toUpperCase() : letter;
  };
  special([2, 0o4000, 's']);
  special([5, 0o2000, 's']);
  special([8, 0o1000, 't']);
  return (TYPE_LETTERS[type] ?? '?') + bits.join('');
}

const TYPE_LETTERS: Readonly<Record<string, string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  fifo: 'p',
  socket: 's',
  characterDevice: 'c',
  blockDevice: 'b',
};

export function isoDate(ms: number): string {
  return new Date(ms).toISOString();
}

/** Ids in tables: enough to name a store; commands take prefixes. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

export function plural(word: string, count: number): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
