/** What `archive` prints: outcomes line by line, tables of scans and stores. */
import type { Outcome, ScanRow, Store } from '../archive/index.ts';
import { table } from './output.ts';

/** What a dry run has not done. */
const DONE = new Set(
  'made split completed replaced committed recovered extracted removed discarded moved'.split(' '),
);

export function conditional(
  word: string,
  { isDryRun = false }: { isDryRun?: boolean | undefined },
): string {
  return isDryRun && DONE.has(word) ? `would be ${word}` : word;
}

/** One line; marks and words of one run stand under each other. */
export function outcomeLine(
  { scheme, path, result, detail }: Outcome,
  options: { readonly isDryRun?: boolean | undefined } = {},
): string {
  const said = conditional(result, options).padEnd(9);
  return oneLine(`${said}  ${scheme}:${path}${detail ? `  (${detail})` : ''}`);
}

/** A name may hold line feeds, and what a terminal takes for commands. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (control) => {
    return `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

/** A table for each scheme, since each has its own columns. */
export function scanLines(rows: readonly ScanRow[]): string[] {
  return [...Map.groupBy(rows, ({ scheme }) => scheme).values()].flatMap((group, index) => {
    const masters = Object.keys(group[0]!.replicas);
    const header = ['shares', ...masters, 'copies', 'archive', 'file'];
    const cells = group.map((row) => [
      sharesCell(row),
      ...masters.map((name) => row.replicas[name]!),
      row.kind === 'file' ? `${row.redundancyPercent} %` : '',
      row.scheme,
      oneLine(row.kind === 'file' ? row.path : `${row.path}/`),
    ]);
    const lines = table(header, cells, { right: ['copies'] });
    return index > 0 ? ['', ...lines] : lines;
  });
}

function sharesCell({ kind, shares: { mark, good, total } }: ScanRow): string {
  return kind === 'file' ? `${mark} ${good}/${total}` : mark;
}

export function faultLines(rows: readonly ScanRow[]): string[] {
  return rows.flatMap(({ scheme, path, shares }) =>
    shares.bad.map(({ store, reason }) =>
      oneLine(`${scheme}:${path}: ${scheme}/${store}: ${reason}`),
    ),
  );
}

export function offlineLines(stores: readonly Store[]): string[] {
  return stores.flatMap(({ scheme, name, reason }) =>
    reason === undefined ? [] : [`store ${scheme}/${name} is offline: ${reason}`],
  );
}
