/**
 * Loop devices for tests: a block device of the kernel over a temporary file, as real to a program
 * as a disk. They need root and losetup(8); where either is missing, tests are skipped and their
 * title says why ({@link describeWithLoop}).
 *
 * Whoever attaches one disposes it, also when the test fails: `await using`, or in an afterEach.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe } from 'vitest';

const run = promisify(execFile);

export interface LoopDevice extends AsyncDisposable {
  /** `/dev/loop3` */
  readonly path: string;
  /** The file under it, full of holes at first. */
  readonly file: string;
  /** Detaches it early. Who has it open keeps it: the kernel waits until it is closed. */
  detach(): Promise<void>;
}

/** Why this machine has no loop devices for us; `undefined`: it has. */
export function loopObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can attach loop devices';
  try {
    execFileSync('losetup', ['--find'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `losetup fails here: ${String(error).split('\n', 1)[0]}`;
  }
}

/** A `describe` that is skipped where there are no loop devices, with the reason in its title. */
export function describeWithLoop(title: string, tests: () => void): void {
  const obstacle = loopObstacle();
  const reason = obstacle === undefined ? '' : ` (SKIPPED: ${obstacle})`;
  describe.skipIf(obstacle !== undefined)(title + reason, tests);
}

/**
 * Attaches a new file of zeros to a loop device that is free.
 * @param options.file is attached instead of a new one, and stays; `sizeBytes` extends or cuts it.
 */
export async function attachLoop(options: {
  readonly sizeBytes?: number;
  readonly file?: string;
  readonly isReadOnly?: boolean;
}): Promise<LoopDevice> {
  await using resources = new AsyncDisposableStack();
  let { file } = options;
  if (file === undefined) {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-loop-'));
    resources.defer(() => rm(folder, { recursive: true }));
    file = join(folder, 'disk');
    await writeFile(file, '');
  }
  if (options.sizeBytes !== undefined) await truncate(file, options.sizeBytes);
  const flags = options.isReadOnly ? ['--read-only'] : [];
  const { stdout } = await run('losetup', [...flags, '--find', '--show', file]);
  const path = stdout.trim();
  let isAttached = true;
  const detach = async (): Promise<void> => {
    if (!isAttached) return;
    isAttached = false;
    await run('losetup', ['--detach', path]);
  };
  resources.defer(detach);
  const own = resources.move();
  return { path, file, detach, [Symbol.asyncDispose]: () => own.disposeAsync() };
}
