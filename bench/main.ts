/**
 * Runs the benches and prints one table: `npm run bench -- [--only NAME] [--json]`. Figures depend
 * on the machine; compare ratios, and figures of one machine with each other (bench/README.md).
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Bench, type BenchRow, formatTable } from './harness.ts';

// As bin/holdfast.js does: the thread pool serves the disks, and is made with its first use.
process.env['UV_THREADPOOL_SIZE'] ??= '32';

/** Files of this folder that export `bench`, cheap ones first. */
const BENCHES: readonly string[] = [
  'codec',
  'crypto',
  'pipeline',
  'store',
  'mux',
  'remote-store',
  'stripes',
  'metadata',
  'small-objects',
  'end-to-end',
  'mount',
  'cluster',
  'shares',
];

async function load(name: string): Promise<Bench | undefined> {
  const file = new URL(`./${name}.ts`, import.meta.url);
  if (!existsSync(file)) return undefined;
  const module = (await import(file.href)) as { readonly bench: Bench };
  return module.bench;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { only: { type: 'string', multiple: true }, json: { type: 'boolean' } },
  });
  const unknown = values.only?.find((name) => !BENCHES.includes(name));
  if (unknown !== undefined) {
    console.error(`no bench is called "${unknown}"; there are: ${BENCHES.join(', ')}`);
    return 2;
  }
  const rows: BenchRow[] = [];
  for (const name of values.only ?? BENCHES) {
    const bench = await load(name);
    if (!bench) continue;
    if (!values.json) console.error(`bench ${name} ...`);
    rows.push(...(await bench()));
  }
  console.log(values.json ? JSON.stringify(rows, undefined, 2) : formatTable(rows));
  return 0;
}

process.exitCode = await main();
