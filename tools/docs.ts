/**
 * Writes the pages of docs/reference that are made from source, so that they cannot differ from it.
 * `node tools/docs.ts` writes them. With `--check` it writes nothing and fails when one is stale,
 * or when a link between pages leads nowhere.
 */
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ERROR_CODES, GiB, KiB, LIMITS, MiB } from '../src/base/index.ts';
import { cliReference } from '../src/cli/index.ts';

const ROOT = new URL('../', import.meta.url);
const GENERATED = '<!-- Made by tools/docs.ts; change the source and run `npm run docs`. -->';

/** Path from the root → text. */
export function referencePages(): ReadonlyMap<string, string> {
  const limitsSource = readFileSync(new URL('src/base/limits.ts', ROOT), 'utf8');
  return new Map([
    ['docs/reference/errors.md', errorsPage()],
    ['docs/reference/limits.md', limitsPage(limitsSource)],
    ['docs/reference/cli.md', `${GENERATED}\n\n${cliReference()}`],
  ]);
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

function errorsPage(): string {
  const entries = Object.entries(ERROR_CODES).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const rows = entries.map(([code, entry]) => [
    `\`${code}\``,
    entry.message,
    entry.retry,
    `\`${entry.errno}\``,
    String(entry.httpStatus),
    `\`${entry.s3Code}\``,
    String(entry.exitCode),
  ]);
  const header = ['code', 'what happened', 'retry', 'errno', 'HTTP', 'S3', 'exit'];
  return `${GENERATED}

# Errors

One code has one meaning on every interface. The line that is printed says the particular; this
page says the general. *Retry* \`never\`: the same call fails again; \`later\`: it may work when
something has changed; \`elsewhere\`: another holder may have what this one lacks. *Exit* is what
the command line ends with; several codes share one.

${table(header, rows)}
`;
}

/** Doc comments of the table with the limits that each of them heads. */
function limitComments(source: string): ReadonlyMap<string, string> {
  const comments = new Map<string, string>();
  let comment = '';
  for (const match of source.matchAll(/\/\*\*([\s\S]*?)\*\/|^ {2}(\w+):/gm)) {
    const [, text, name] = match;
    if (text !== undefined) comment = text.replace(/\s*\n\s*\* ?/g, ' ').trim();
    else if (name !== undefined) comments.set(name, comment);
  }
  return comments;
}

function limitsPage(source: string): string {
  const comments = limitComments(source);
  const rows = Object.entries(LIMITS).map(([name, value]) => [
    `\`${name}\``,
    readable(name, value),
    comments.get(name) ?? '',
  ]);
  return `${GENERATED}

# Limits

Everything has a limit. Units are in the names: bytes, milliseconds, else a count.

${table(['limit', 'value', 'of what, and why'], rows)}
`;
}

function readable(name: string, value: number): string {
  const plain = value.toLocaleString('en-US');
  if (/ms$/i.test(name)) return value % 3_600_000 === 0 ? `${value / 3_600_000} h` : `${plain} ms`;
  if (!/bytes/i.test(name)) return plain;
  for (const [unit, size] of [
    ['GiB', GiB],
    ['MiB', MiB],
    ['KiB', KiB],
  ] as const) {
    if (value >= size && value % size === 0) return `${value / size} ${unit}`;
  }
  return `${plain} B`;
}

function main(): void {
  const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
  for (const [path, text] of referencePages()) {
    const file = new URL(path, ROOT);
    if (!values.check) {
      mkdirSync(new URL('.', file), { recursive: true });
      writeFileSync(file, text);
    } else if (readText(file) !== text) {
      console.error(`${path}: stale; run "npm run docs"`);
      process.exitCode = 1;
    }
  }
  for (const line of values.check ? deadLinks() : []) {
    console.error(line);
    process.exitCode = 1;
  }
}

/** Links of our pages to files of this tree that are not there. */
function deadLinks(): string[] {
  const pages = globSync(['*.md', 'docs/**/*.md', 'changelog/**/*.md', 'bench/*.md'], {
    cwd: fileURLToPath(ROOT),
  });
  return pages.flatMap((page) => {
    const url = new URL(page, ROOT);
    return [...readFileSync(url, 'utf8').matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)]
      .filter(([, target]) => !existsSync(new URL(target!, url)))
      .map(([, target]) => `${page}: links to ${target}, which is not there`);
  });
}

/** The file's text; '' when there is none. */
function readText(file: URL): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

if (import.meta.main) main();
