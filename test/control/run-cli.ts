/** The command line in this process, against a server that a test has started in `folder`. */
import { PassThrough, Readable } from 'node:stream';
import { type Io, main } from '../../src/cli/index.ts';
import { realEnv } from '../../src/env/index.ts';

export async function runCli(
  folder: string,
  argv: readonly string[],
  { stdin = '', io = {} as Partial<Io> } = {},
) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await main([...argv, '--data', folder], {
    version: '0.0.0',
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout,
    stderr,
    variables: {},
    homePath: folder,
    workPath: folder,
    clock: realEnv().clock,
    uniqueName: () => 'name',
    onSignal: () => () => {},
    die: () => {},
    startDetached: async () => ({ processId: process.pid, ended: new Promise(() => {}) }),
    loadNode: async () => await Promise.reject(new Error('not in this test')),
    ...io,
  });
  return { code, out: String(stdout.read() ?? ''), error: String(stderr.read() ?? '') };
}
