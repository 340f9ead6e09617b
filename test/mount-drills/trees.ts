/**
 * Trees of files as source code has them: many, small, deep; made from a seed, and compared to the
 * last byte and the last attribute.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { mapBounded } from '../../src/base/index.ts';
import { below, seededRandom } from '../e2e/content.ts';

const AT_ONCE = 8;
const FILES_PER_DIRECTORY = 12;
/** Half of all files are smaller, as in the sources of a kernel or a compiler. */
const MEDIAN_BYTES = 2048;
const LARGE_BYTES = 100_000;
const MODES = [0o644, 0o644, 0o644, 0o600, 0o755, 0o444, 0o6755];
/** 2001-09-09; times of a tree lie in the years after it. */
const FIRST_SECOND = 1_000_000_000;
const SECONDS = 500_000_000;
/** Kept of what differs, to be printed. */
const DIFFERENCES_MAX = 20;

export interface TreePlan {
  readonly seed: number;
  readonly fileCount: number;
}

/** Makes it in a new folder. @returns bytes of all files. */
export async function makeTree(root: string, { seed, fileCount }: TreePlan): Promise<number> {
  const random = seededRandom(seed);
  const directories = [root];
  await fs.mkdir(root, { recursive: true });
  for (let made = 0; made < fileCount; made += FILES_PER_DIRECTORY) {
    const parent = directories[below(random, Math.min(directories.length, 200))]!;
    const directory = path.join(parent, `d${directories.length}`);
    await fs.mkdir(directory);
    directories.push(directory);
  }
  const numbers = Array.from({ length: fileCount }, (_, number) => number);
  const sizes = await mapBounded(numbers, AT_ONCE, async (number) => {
    const own = seededRandom(seed * 1_000_003 + number);
    return await makeEntry(directories[1 + below(own, directories.length - 1)]!, number, own);
  });
  // From the leaves up: to make an entry changes the time of its directory.
  for (const directory of directories.toReversed()) await setTime(directory, random);
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function makeEntry(directory: string, number: number, random: () => number): Promise<number> {
  const name = path.join(directory, nameOf(number, random));
  if (random() < 0.02) {
    await fs.symlink(`../somewhere/${'x'.repeat(below(random, 200))}${number}`, name);
    await fs.lutimes(name, someTime(random), someTime(random));
    return 0;
  }
  const content = bytes(number, sizeOf(random), random);
  await fs.writeFile(name, content);
  await fs.chmod(name, MODES[below(random, MODES.length)]!);
  await setTime(name, random);
  return content.length;
}

function nameOf(number: number, random: () => number): string {
  if (random() < 0.02) return `ü name with spaces\n${number}`;
  if (random() < 0.01) return `${number}-${'long'.repeat(60)}`.slice(0, 255);
  return `file-${number}.c`;
}

/** Log-normal around the median; one in fifty is large, one in fifty empty. */
function sizeOf(random: () => number): number {
  const dice = random();
  if (dice < 0.02) return 0;
  if (dice < 0.04) return below(random, LARGE_BYTES * 4);
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.min(LARGE_BYTES, Math.floor(MEDIAN_BYTES * Math.exp(normal * 1.3)));
}

function bytes(number: number, size: number, random: () => number): Buffer {
  const line = `${number} ${random()} the quick brown fox\n`;
  return Buffer.alloc(size, line);
}

/** With parts of a second that a double holds exactly. */
function someTime(random: () => number): number {
  return FIRST_SECOND + below(random, SECONDS) + below(random, 4) / 4;
}

async function setTime(name: string, random: () => number): Promise<void> {
  await fs.utimes(name, someTime(random), someTime(random));
}

/** Path below the root → all that may be compared of it. */
export type Described = ReadonlyMap<string, string>;

/** Of each entry: kind, mode, owner, size, time of change to a nanosecond, and its bytes. */
export async function describeTree(root: string): Promise<Described> {
  const described = new Map<string, string>();
  let names: string[] = ['.'];
  while (names.length > 0) {
    const entries = await mapBounded(names, AT_ONCE, async (name) => ({
      name,
      ...(await describeEntry(path.join(root, name))),
    }));
    for (const { name, line } of entries) described.set(name, line);
    names = entries.flatMap(({ name, children }) =>
      children.map((child) => path.join(name, child)),
    );
  }
  return described;
}

async function describeEntry(full: string): Promise<{ line: string; children: string[] }> {
  const stat = await fs.lstat(full, { bigint: true });
  const { mode, uid, gid, mtimeNs } = stat;
  const common = `${mode.toString(8)} ${uid}:${gid} ${mtimeNs}`;
  if (stat.isDirectory()) return { line: common, children: await fs.readdir(full) };
  if (stat.isSymbolicLink())
    return { line: `${common} → ${await fs.readlink(full)}`, children: [] };
  const digest = createHash('sha256')
    .update(await fs.readFile(full))
    .digest('hex');
  return { line: `${common} ${stat.nlink} links ${stat.size} ${digest}`, children: [] };
}

/** @throws with the first of what differs. */
export function assertSame(actual: Described, expected: Described): void {
  const names = new Set([...actual.keys(), ...expected.keys()]);
  const different = [...names].filter((name) => actual.get(name) !== expected.get(name));
  if (different.length === 0) return;
  const lines = different.slice(0, DIFFERENCES_MAX).map((name) => {
    const should = expected.get(name) ?? 'not there';
    return `${JSON.stringify(name)}: is ${actual.get(name) ?? 'not there'}, should be ${should}`;
  });
  throw new Error(`${different.length} of ${names.size} differ:\n${lines.join('\n')}`);
}
