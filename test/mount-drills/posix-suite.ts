/** pjdfstest, a public suite of system calls: a copy that was built is named with --path. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { Missing, need, ok, runCommand } from './commands.ts';
import type { Drill } from './drill.ts';

export async function posixSuite({ mounts, path: folder, say }: Drill): Promise<object> {
  need('prove');
  if (folder === undefined) throw new Missing('needs --path DIR: a built copy of pjdfstest');
  const tests = path.resolve(folder, 'tests');
  await fs.access(path.resolve(folder, 'pjdfstest')).catch(() => {
    throw new Missing(
      `no program pjdfstest in ${folder}; build it (autoreconf -i, configure, make)`,
    );
  });
  const cwd = path.join(mounts.directory, 'pjdfstest');
  await fs.mkdir(cwd);
  const { exit, stdout } = await runCommand('prove', ['-r', tests], { cwd });
  const summary = stdout.slice(stdout.indexOf('Test Summary Report'));
  const counts = /Files=(\d+), Tests=(\d+)/.exec(stdout);
  say(`files ${counts?.[1]}, tests ${counts?.[2]}`);
  if (exit !== 0) throw new Error(`pjdfstest ended with ${exit}: ${summary.slice(0, 20_000)}`);
  await ok('rm', ['-rf', cwd]);
  return { files: Number(counts?.[1]), tests: Number(counts?.[2]) };
}
