/**
 * Aim: each rule of tidy reports what it is there for, and nothing else.
 * Method: plants one fault (or one lawful look-alike) in a small tree and reads the findings.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LAYERS, tidy } from './tidy.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'holdfast-tidy-'));
  plant('src/base/index.ts', "export { LIMITS } from './limits.ts';\n");
  plant('src/base/limits.ts', 'export const LIMITS = {\n  /** Of a name. */\n};\n');
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function plant(path: string, text: string): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** Findings as "file:line: message". */
function findings(): string[] {
  return tidy(root).map(({ file, line, message }) => `${file}:${line}: ${message}`);
}

const sorted = (lines: readonly string[]) => lines.toSorted();

it('has nothing to say about a clean tree', () => {
  plant('src/device/index.ts', "import { LIMITS } from '../base/index.ts';\nexport { LIMITS };\n");
  plant('src/device/index.test.ts', "import './index.ts';\nconst now = Date.now();\n");
  expect(findings()).toEqual([]);
});

describe('walls', () => {
  it('reports a module that is not in the table', () => {
    plant('src/pantry/index.ts', 'export const x = 1;\n');
    plant('src/stray.ts', 'export const x = 1;\n');
    expect(findings()).toContain(
      'src/pantry:0: is no module of the table; add it to LAYERS and to docs/ARCHITECTURE.md',
    );
    expect(findings()).toContain(
      'src:0: is no module of the table; add it to LAYERS and to docs/ARCHITECTURE.md',
    );
  });

  it('reports an import of a module that is not allowed', () => {
    plant('src/store/index.ts', 'export const store = 1;\n');
    plant('src/codec/index.ts', "import { store } from '../store/index.ts';\nexport { store };\n");
    expect(findings()).toEqual([
      'src/codec/index.ts:1: codec may not import store; it may: base, env',
    ]);
  });

  it('reports imports past a door, over several lines, dynamic, and from other areas', () => {
    plant('src/env/index.ts', "export { x } from './inner.ts';\n");
    plant('src/env/inner.ts', 'export const x = 1;\n');
    plant('src/db/index.ts', "import {\n  x,\n} from '../env/inner.ts';\nexport { x };\n");
    plant('bench/main.ts', `await ${'import'}('../src/env/inner.ts');\n`);
    expect(sorted(findings())).toEqual([
      'bench/main.ts:1: imports src/env/inner.ts; go through the door src/env/index.ts',
      'src/db/index.ts:3: imports src/env/inner.ts; go through the door src/env/index.ts',
    ]);
  });

  it("reports an import of the module's own door, except in tests", () => {
    plant('src/env/index.ts', "export { x } from './inner.ts';\n");
    plant('src/env/inner.ts', "import { y } from './index.ts';\nexport const x = y;\n");
    plant('src/env/inner.test.ts', "import { y } from './index.ts';\ny;\n");
    expect(findings()).toEqual([
      'src/env/inner.ts:1: imports its own door; import the file that has it, beside this one',
    ]);
  });

  it('lets a test reach further down than its module, and no further up', () => {
    plant('src/codec/index.ts', 'export const codec = 1;\n');
    plant('src/store/index.ts', 'export const store = 1;\n');
    plant('src/meta/index.ts', 'export const meta = 1;\n');
    plant(
      'src/store/a.test.ts',
      "import '../codec/index.ts';\nimport '../meta/index.ts';\nimport '../../sim/env.ts';\n",
    );
    plant('sim/env.ts', 'export {};\n');
    expect(findings()).toHaveLength(1);
    expect(findings()[0]).toMatch(
      /^src\/store\/a\.test\.ts:2: store may not import meta; it may: /,
    );
  });

  it('reports code that ships and stands on code that does not', () => {
    plant('src/env/index.ts', "import { seed } from '../../sim/seed.ts';\nexport { seed };\n");
    expect(findings()).toEqual([
      'src/env/index.ts:1: src imports sim/seed.ts; what ships stands on nothing outside src',
    ]);
  });

  it('reports a module without a door', () => {
    plant('src/db/worker.ts', 'export const x = 1;\n');
    expect(findings()).toEqual(['src/db:0: has no door; add index.ts']);
  });
});

describe('sizes and marks', () => {
  it('reports long files, with more room for tests', () => {
    const lines = (count: number) => '//\n'.repeat(count);
    plant('src/env/index.ts', lines(401));
    plant('src/db/index.ts', lines(400));
    plant('src/db/index.test.ts', lines(600));
    plant('sim/main.ts', lines(601));
    expect(sorted(findings())).toEqual([
      'sim/main.ts:0: 601 lines; split it at 600',
      'src/env/index.ts:0: 401 lines; split it at 400',
    ]);
  });

  it('reports long lines unless they cannot be broken', () => {
    plant('src/env/index.ts', `${'// word'.padEnd(101, ' x')}\n// ${'x'.repeat(100)}\n`);
    expect(findings()).toEqual(['src/env/index.ts:1: 101 columns; break the line at 100']);
  });

  it('reports unfinished work', () => {
    const marks = ['FIX' + 'ME: x', 'TO' + 'DO: x', 'TO' + 'DO(#12): x'];
    plant('src/env/index.ts', marks.map((mark) => `// ${mark}\n`).join(''));
    expect(findings()).toEqual([
      `src/env/index.ts:1: ${'FIX' + 'ME'}; mend it now, or write TO${'DO'}(#123): with an issue`,
      `src/env/index.ts:2: deferred work without an issue; TO${'DO'}(#123):`,
    ]);
  });
});

describe('bans', () => {
  const banned = [
    ['Date.now()', 'Date.now(', 'env.clock.now()'],
    ['new Date()', 'new Date()', 'env.clock.now()'],
    ['Math.random()', 'Math.random(', 'env.random, or a seeded generator'],
    ['randomBytes(16)', 'randomBytes(', 'env.random'],
    ['setTimeout(f, 1)', 'setTimeout(', 'env.clock.sleep() or env.clock.every()'],
    ['setInterval(f, 1)', 'setInterval(', 'env.clock.sleep() or env.clock.every()'],
    ['setImmediate(f)', 'setImmediate(', 'env.clock.sleep() or env.clock.every()'],
    ["import 'node:timers/promises'", "'node:timers", 'env.clock.sleep() or env.clock.every()'],
    ['crypto.subtle.digest()', 'crypto.subtle', 'the crypto module; it is synchronous'],
    ['process.env.HOME', 'process.env', 'the configuration that node hands down'],
    ['process.exit(1)', 'process.exit(', 'a return value, or process.exitCode'],
    ["import 'node:fs'", "'node:fs'", 'an interface that one of '],
    ["import 'node:fs/promises'", "'node:fs/promises'", 'an interface that one of '],
    ["import 'node:net'", "'node:net'", 'an interface that one of '],
    ["import 'node:http'", "'node:http'", 'an interface that one of '],
    ["import 'node:child_process'", "'node:child_process'", 'an interface that one of '],
    ["import 'node:dgram'", "'node:dgram'", 'an interface that one of '],
  ] as const;

  it.each(banned)('reports %s and names what to use', (code, found, instead) => {
    plant('src/codec/index.ts', `\n${code};\n`);
    const all = findings();
    expect(all).toHaveLength(1);
    expect(all[0]).toContain(`src/codec/index.ts:2: ${found} is banned here; use ${instead}`);
  });

  it.each([
    ['src/env/index.ts', 'Date.now(); setTimeout(f, 1); Math.random(); randomBytes(1);'],
    ['src/device/index.ts', "import 'node:fs';"],
    ['src/node/index.ts', "import './config.ts';"],
    ['src/node/config.ts', 'process.env.HOME;'],
    ['src/codec/index.ts', '// Date.now() in a comment'],
    ['src/codec/index.ts', '/* or\n * Date.now() in this kind */'],
    ['src/codec/index.ts', 'new Date(0); clock.setTimeout(f); myDate.nowhere();'],
    ['bin/holdfast.js', 'process.exit(process.env.CODE);'],
    ['bench/main.ts', 'Date.now();'],
  ])('allows in %s: %s', (path, code) => {
    plant(path, `${code}\n`);
    if (path.endsWith('config.ts')) plant('src/node/index.ts', "import './config.ts';\n");
    if (code.includes("'./config.ts'")) plant('src/node/config.ts', 'export {};\n');
    expect(findings()).toEqual([]);
  });

  it('holds the simulator to the same clock', () => {
    plant('sim/net.ts', 'setTimeout(f, 1);\n');
    expect(findings()).toHaveLength(1);
  });
});

describe('what nothing uses', () => {
  it('reports files that nothing which ships imports', () => {
    plant('src/env/index.ts', "export * from './used.ts';\n");
    plant('src/env/used.ts', 'export {};\n');
    plant('src/env/used.test.ts', "import './helper.ts';\n");
    plant('src/env/helper.ts', 'export {};\n');
    plant('src/env/clock-worker.ts', 'export {};\n');
    expect(findings()).toEqual([
      'src/env/helper.ts:0: nothing that ships imports it; ' +
        'delete it, or move what only tests need to test/',
    ]);
  });

  it('reports limits that nothing obeys', () => {
    const limits = '  nameBytesMax: 255,\n  keyBytesMax: 1024,\n';
    plant('src/base/limits.ts', `export const LIMITS = {\n${limits}};\n`);
    plant('src/env/index.ts', 'if (name.length > LIMITS.nameBytesMax) throw 1;\n');
    expect(findings()).toEqual([
      'src/base/limits.ts:3: nothing obeys the limit keyBytesMax; ' +
        'check it where it belongs, or drop it',
    ]);
  });
});

describe('docs/ARCHITECTURE.md', () => {
  const rows = Object.entries(LAYERS).map(
    ([name, may]) => `| \`${name}\` | what it is | ${may.join(', ') || '–'} | \`x\` |`,
  );

  it('accepts the table of LAYERS', () => {
    plant('docs/ARCHITECTURE.md', `# Architecture\n\n${rows.join('\n')}\n`);
    expect(findings()).toEqual([]);
  });

  it.each([
    ['a missing row', rows.slice(1)],
    ['another order', rows.toReversed()],
    ['one row too many', [...rows, '| `pantry` | x | base | |']],
    ['another wall', rows.map((row) => row.replace('base, env', 'base, env, cli'))],
  ])('reports %s', (_, table) => {
    plant('docs/ARCHITECTURE.md', table.join('\n'));
    expect(findings()).toHaveLength(1);
    expect(findings()[0]).toMatch(/^docs\/ARCHITECTURE\.md:0: the module table differs/);
  });
});
