/**
 * Checks what neither the compiler nor the linter sees: the walls between modules, sizes, calls
 * that would reach around `env`, dead files, limits that nothing obeys. It prints one line for each
 * finding and fails when there is one.
 *
 * The *module table* is {@link LAYERS}; docs/ARCHITECTURE.md quotes it. A *door* is a module's
 * `index.ts`. An *area* is a top folder (`src`, `sim`, `bench`, …). Findings that are natural while
 * a module is being built (no door yet, unused limits) are left out with `--no-strict`.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Module → modules it may import, through their doors. Bottom to top. */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  env: ['base'],
  api: ['base'],
  codec: ['base', 'env'],
  crypto: ['base'],
  placement: ['base'],
  device: ['base', 'env'],
  db: ['base', 'env'],
  net: ['base', 'env', 'crypto'],
  shares: ['base', 'env', 'codec', 'crypto'],
  archive: ['base', 'env', 'db', 'shares'],
  store: ['base', 'env', 'crypto', 'device', 'net'],
  log: ['base', 'env', 'crypto', 'db', 'net'],
  cluster: ['base', 'env', 'crypto', 'placement', 'net', 'log'],
  meta: ['base', 'env', 'crypto', 'placement', 'db', 'net', 'log', 'cluster'],
  stripes: ['base', 'env', 'codec', 'crypto', 'placement', 'store', 'cluster'],
  repair: ['base', 'env', 'placement', 'net', 'store', 'cluster', 'meta', 'stripes'],
  volume: ['base', 'env', 'crypto', 'store', 'cluster', 'meta', 'stripes', 'repair'],
  mount: ['base', 'env', 'volume'],
  admin: ['base', 'env', 'api', 'placement', 'store', 'cluster', 'meta', 'repair', 'volume'],
  client: ['base', 'api'],
  node: [
    'base',
    'env',
    'api',
    'codec',
    'crypto',
    'placement',
    'device',
    'db',
    'net',
    'store',
    'log',
    'cluster',
    'meta',
    'stripes',
    'repair',
    'volume',
    'mount',
    'admin',
  ],
  cli: ['base', 'env', 'api', 'device', 'shares', 'archive', 'store', 'client', 'node'],
};

export interface Finding {
  /** Path from the root, with '/'. */
  readonly file: string;
  /** 1-based; 0 when it is about the whole file. */
  readonly line: number;
  readonly message: string;
  /** Left out with `--no-strict`. */
  readonly isStrict?: boolean;
}

interface SourceFile {
  readonly path: string;
  readonly area: string;
  /** Module of a file in src, else ''. */
  readonly module: string;
  readonly isTest: boolean;
  readonly lines: readonly string[];
  /** The lines with comments blanked out. */
  readonly code: readonly string[];
}

const AREAS = ['src', 'sim', 'test', 'bench', 'tools', 'examples', 'bin'] as const;
const LONG_AREAS: readonly string[] = ['sim', 'test', 'bench'];
const LINES_MAX = 400;
const LINES_MAX_TEST = 600;
const COLUMNS_MAX = 100;
/** A long address or pattern. */
const UNBREAKABLE = /\S{80}/;

interface Ban {
  readonly pattern: RegExp;
  /** What to write instead, or where it belongs. */
  readonly instead: string;
  /** Modules and files of src that may. */
  readonly homes: readonly string[];
  /** Areas in which it is banned; tests are exempt except where `inTests`. */
  readonly areas: readonly string[];
  readonly inTests?: boolean;
}

/** Modules that touch this machine: its files, its network, its processes. */
const MACHINE_MODULES = [
  'env',
  'device',
  'db',
  'net',
  'shares',
  'archive',
  'mount',
  's3',
  'admin',
  'client',
  'node',
  'cli',
];
const SIMULATED = ['src', 'sim'];

const BANS: readonly Ban[] = [
  {
    pattern: /\bDate\.now\(|\bnew Date\(\)/,
    instead: 'env.clock.now()',
    homes: ['env'],
    areas: SIMULATED,
  },
  {
    pattern: /\bMath\.random\(/,
    instead: 'env.random, or a seeded generator',
    homes: ['env'],
    areas: [...SIMULATED, 'test', 'bench'],
    inTests: true,
  },
  {
    pattern: /(?<![.\w])random(Bytes|Int|UUID|FillSync)\(/,
    instead: 'env.random',
    homes: ['env'],
    areas: SIMULATED,
  },
  {
    pattern: /(?<![.\w])set(Timeout|Interval|Immediate)\(|['"]node:timers/,
    instead: 'env.clock.sleep() or env.clock.every()',
    homes: ['env', 'sim/sim-env.ts'],
    areas: SIMULATED,
  },
  {
    pattern: /\bcrypto\.subtle\b/,
    instead: 'the crypto module; it is synchronous, so that simulated runs repeat',
    homes: [],
    areas: SIMULATED,
    inTests: true,
  },
  {
    pattern: /\bprocess\.env\b/,
    instead: 'the configuration that node hands down',
    homes: ['cli', 'node/config.ts'],
    areas: SIMULATED,
  },
  {
    pattern: /\bprocess\.exit\(/,
    instead: 'a return value, or process.exitCode',
    homes: [],
    areas: ['src', 'sim', 'bench', 'test'],
    inTests: true,
  },
  {
    pattern: /['"]node:(fs|net|http|https|child_process|dgram)(\/\w+)?['"]/,
    instead: `an interface that one of ${MACHINE_MODULES.join(', ')} implements`,
    homes: MACHINE_MODULES,
    areas: ['src'],
  },
];

/** All findings about the tree at `root`. */
export function tidy(root: string): Finding[] {
  const files = AREAS.flatMap((area) => readArea(root, area));
  return [
    ...files.flatMap((file) => [
      ...checkSize(file),
      ...checkLines(file),
      ...checkBans(file),
      ...checkImports(file),
    ]),
    ...checkModules(files),
    ...checkDeadFiles(files),
    ...checkLimits(files),
    ...checkArchitecture(root),
  ];
}

function readArea(root: string, area: string): SourceFile[] {
  const folder = join(root, area);
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[cm]?[jt]s$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((path) => !path.includes('/node_modules/'))
    .toSorted()
    .map((path) => readSource(root, path));
}

function readSource(root: string, path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  const parts = path.split('/');
  return {
    path,
    area: parts[0]!,
    module: parts[0] === 'src' && parts.length > 2 ? parts[1]! : '',
    isTest: path.endsWith('.test.ts'),
    lines: text.replace(/\n$/, '').split('\n'),
    code: withoutComments(text).split('\n'),
  };
}

/** Blanks comments and keeps line numbers; good enough for formatted code. */
function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|\s)\/\/.*$/gm, '$1');
}

function checkSize({ path, area, isTest, lines }: SourceFile): Finding[] {
  const linesMax = isTest || LONG_AREAS.includes(area) ? LINES_MAX_TEST : LINES_MAX;
  if (lines.length <= linesMax) return [];
  return [{ file: path, line: 0, message: `${lines.length} lines; split it at ${linesMax}` }];
}

function checkLines({ path, lines }: SourceFile): Finding[] {
  const findings: Finding[] = [];
  for (const [index, text] of lines.entries()) {
    const add = (message: string) => findings.push({ file: path, line: index + 1, message });
    if (text.length > COLUMNS_MAX && !UNBREAKABLE.test(text)) {
      add(`${text.length} columns; break the line at ${COLUMNS_MAX}`);
    }
    // The brackets keep these two lines from finding themselves.
    if (/\bFIX[M]E\b/.test(text))
      add('FIX' + 'ME; mend it now, or write TODO(#123): with an issue');
    if (/\bTOD[O]\b(?!\(#\d+\))/.test(text)) add('deferred work without an issue; TODO(#123):');
  }
  return findings;
}

function checkBans({ path, area, module, isTest, code }: SourceFile): Finding[] {
  return BANS.filter(
    ({ areas, homes, inTests }) =>
      areas.includes(area) &&
      (!isTest || inTests === true) &&
      !(area === 'src' && homes.includes(module)) &&
      !homes.some((home) => path === home || path === `src/${home}`),
  ).flatMap(({ pattern, instead }) =>
    code.flatMap((text, index) => {
      const found = pattern.exec(text)?.[0];
      if (found === undefined) return [];
      return [{ file: path, line: index + 1, message: `${found} is banned here; use ${instead}` }];
    }),
  );
}

interface Import {
  readonly line: number;
  /** Path of what is imported, from the root. */
  readonly target: string;
}

/** Relative imports, static and dynamic; those of packages and of Node are no walls. */
function importsOf({ path, code }: SourceFile): Import[] {
  return code.flatMap((text, index) =>
    [...text.matchAll(/\b(?:from|import)\s*\(?\s*['"](\.[^'"]*)['"]/g)].map((match) => ({
      line: index + 1,
      target: posix.join(posix.dirname(path), match[1]!),
    })),
  );
}

function checkImports(file: SourceFile): Finding[] {
  return importsOf(file).flatMap(({ line, target }) => {
    const message = importFault(file, target);
    return message === undefined ? [] : [{ file: file.path, line, message }];
  });
}

function importFault(file: SourceFile, target: string): string | undefined {
  const [area, module = '', ...rest] = target.split('/');
  if (area !== 'src') {
    if (file.area !== 'src' || file.isTest || file.area === area) return undefined;
    return `src imports ${target}; what ships stands on nothing outside src`;
  }
  const isDoor = rest.join('/') === 'index.ts';
  if (module === file.module) {
    if (!isDoor || file.isTest || file.path.endsWith('/index.ts')) return undefined;
    return `imports its own door; import the file that has it, beside this one`;
  }
  if (!isDoor) return `imports ${target}; go through the door src/${module}/index.ts`;
  if (file.area !== 'src') return undefined;
  const order = Object.keys(LAYERS);
  // A test may build what its module is handed at run time: anything from further down.
  const allowed = file.isTest
    ? order.slice(0, Math.max(0, order.indexOf(file.module)))
    : (LAYERS[file.module] ?? []);
  if (allowed.includes(module)) return undefined;
  return `${file.module} may not import ${module}; it may: ${allowed.join(', ') || 'nothing'}`;
}

function checkModules(files: readonly SourceFile[]): Finding[] {
  const modules = new Set(files.filter(({ area }) => area === 'src').map(({ module }) => module));
  const unlisted = [...modules]
    .filter((module) => !(module in LAYERS))
    .map((module) => ({
      file: module === '' ? 'src' : `src/${module}`,
      line: 0,
      message: 'is no module of the table; add it to LAYERS and to docs/ARCHITECTURE.md',
    }));
  const paths = new Set(files.map(({ path }) => path));
  const doorless = [...modules]
    .filter((module) => module in LAYERS && !paths.has(`src/${module}/index.ts`))
    .map((module) => ({
      file: `src/${module}`,
      line: 0,
      message: 'has no door; add index.ts',
      isStrict: true,
    }));
  return [...unlisted, ...doorless];
}

/** Files of src that no file which ships imports, and that nothing starts by name. */
function checkDeadFiles(files: readonly SourceFile[]): Finding[] {
  const sources = files.filter(({ area, isTest }) => area === 'src' && !isTest);
  const imported = new Set(sources.flatMap((file) => importsOf(file).map(({ target }) => target)));
  return sources
    .map(({ path }) => path)
    .filter((path) => !imported.has(path))
    .filter((path) => !/^src\/(\w+\/index|cli\/main|.*\bworker)\.ts$/.test(path))
    .map((file) => ({
      file,
      line: 0,
      message: 'nothing that ships imports it; delete it, or move what only tests need to test/',
      isStrict: true,
    }));
}

function checkLimits(files: readonly SourceFile[]): Finding[] {
  const table = files.find(({ path }) => path === 'src/base/limits.ts');
  if (!table) return [];
  const code = files
    .filter(({ area, isTest, path }) => area === 'src' && !isTest && path !== table.path)
    .flatMap((file) => file.code)
    .join('\n');
  return table.code.flatMap((text, index) => {
    const name = /^ {2}(\w+):/.exec(text)?.[1];
    if (name === undefined || new RegExp(`\\b${name}\\b`).test(code)) return [];
    const message = `nothing obeys the limit ${name}; check it where it belongs, or drop it`;
    return [{ file: table.path, line: index + 1, message, isStrict: true }];
  });
}

/** Rows "| `module` | … | `may`, `import` | …" of the page must be LAYERS, in its order. */
function checkArchitecture(root: string): Finding[] {
  const file = 'docs/ARCHITECTURE.md';
  if (!existsSync(join(root, file))) return [];
  const rows = [
    ...readFileSync(join(root, file), 'utf8').matchAll(/^\| `(\w+)` \|[^|]*\|([^|]*)\|/gm),
  ].map((row) => `${row[1]}: ${row[2]!.match(/\w+/g)?.join(', ') ?? ''}`);
  const wanted = Object.entries(LAYERS).map(([name, may]) => `${name}: ${may.join(', ')}`);
  const at = wanted.findIndex((row, index) => row !== rows[index]);
  if (at < 0 && rows.length === wanted.length) return [];
  const [is, should] = at < 0 ? [rows[wanted.length], 'no more'] : [rows[at] ?? 'none', wanted[at]];
  const message = `the module table differs from LAYERS: "${is}" should be "${should}"`;
  return [{ file, line: 0, message }];
}

function main(): void {
  const { values } = parseArgs({
    options: { strict: { type: 'boolean', default: true } },
    allowNegative: true,
  });
  const findings = tidy(join(dirname(fileURLToPath(import.meta.url)), '..')).filter(
    ({ isStrict }) => values.strict || !isStrict,
  );
  for (const { file, line, message } of findings) {
    console.error(line === 0 ? `${file}: ${message}` : `${file}:${line}: ${message}`);
  }
  if (findings.length > 0) process.exitCode = 1;
}

if (import.meta.main) main();
