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
