/**
 * Aim: `npm run demo` and `npm run dev` work as they say, and leave no process and no folder behind
 * (row I6). Method: the scripts themselves, with a temporary folder of their own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { until } from './harness.ts';

const TOOLS = fileURLToPath(new URL('../../tools', import.meta.url));

let folder: string;
let children: ChildProcess[];

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(tmpdir(), 'holdfast-demo-'));
  children = [];
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await fs.rm(folder, { recursive: true });
});

function start(tool: string): { child: ChildProcess; text: () => string } {
  const child = spawn(process.execPath, [path.join(TOOLS, tool)], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const pieces: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => pieces.push(piece));
  }
  return { child, text: () => Buffer.concat(pieces).toString() };
}

/** Node keeps its compile cache there, too. */
async function leftFolders(): Promise<string[]> {
  return (await fs.readdir(folder)).filter((name) => name !== 'node-compile-cache');
}

/** Processes whose command line names the folder. */
async function processes(): Promise<string[]> {
  const ids = (await fs.readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    ids.map((id) => fs.readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(folder));
}

it('shows a PDF that comes back, and cleans up', async () => {
  const { child, text } = start('demo.ts');
  const [exitCode] = await once(child, 'close');
  expect(exitCode, text()).toBe(0);
  expect(text()).toContain('byte for byte');
  expect(text()).toMatch(/anna 2, ben 2, cleo 2/);
  expect(await leftFolders()).toEqual([]);
  expect(await processes()).toEqual([]);
});

it('keeps the cluster running until it is interrupted, and cleans up', async () => {
  const { child, text } = start('dev-cluster.ts');
  await until('it says how to use it', () => text().includes('Ctrl-C stops'));
  expect(await processes()).toHaveLength(3);
  child.kill('SIGINT');
  const [exitCode] = await once(child, 'close');
  expect(exitCode, text()).toBe(0);
  expect(await leftFolders()).toEqual([]);
  expect(await processes()).toEqual([]);
});
