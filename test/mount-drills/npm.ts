/** Installs this project's dependencies in the mount, and compares with those on a local disk. */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { need, Missing, ok, runCommand, timed } from './commands.ts';
import type { Drill } from './drill.ts';
import { type Described, describeTree } from './trees.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const FILES = ['package.json', 'package-lock.json', '.npmrc', 'tools/runtime'];
const QUIETLY = ['--no-audit', '--no-fund', '--ignore-scripts'];

export async function npmInstall({ mounts, say }: Drill): Promise<object> {
  need('npm');
  const local = mounts.bed.path('local');
  const mounted = path.join(mounts.directory, 'project');
  for (const folder of [local, mounted]) {
    await fs.mkdir(folder);
    for (const file of FILES) {
      await fs.cp(path.join(PROJECT, file), path.join(folder, file), { recursive: true });
    }
  }
  const offline = await install(local, '--offline');
  if (offline !== undefined) {
    const online = await install(local, '--prefer-offline');
    if (online !== undefined) throw new Missing(`npm cannot install on a local disk: ${online}`);
  }
  const seconds = await timed(async () =>
    assert.equal(await install(mounted, '--offline'), undefined),
  );
  say(`installed in ${seconds} s`);
  await ok('npm', ['ls', '--all'], { cwd: mounted });
  const expected = contents(await describeTree(local));
  const actual = contents(await describeTree(mounted));
  assert.deepEqual(actual, expected, 'the same files with the same bytes as on a local disk');
  const tsc = await ok('node_modules/.bin/tsc', ['--version'], { cwd: mounted });
  assert.match(tsc, /^Version/);
  await ok('rm', ['-rf', mounted]);
  return { entries: expected.length, seconds };
}

/** @returns why it could not. */
async function install(folder: string, how: string): Promise<string | undefined> {
  const { exit, stderr } = await runCommand('npm', ['ci', how, ...QUIETLY], { cwd: folder });
  return exit === 0 ? undefined : stderr.split('\n').slice(0, 3).join('; ');
}

/** Without the times, which are those of each installation. */
function contents(described: Described): string[] {
  return [...described]
    .filter(([name]) => !name.includes('.package-lock.json'))
    .map(([name, line]) => `${name} ${line.replace(/ \d{15,}/, '')}`)
    .toSorted();
}
