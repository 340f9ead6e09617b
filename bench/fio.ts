/** fio, the usual measure of what a disk can do; it has the page cache out of the way as we do. */
import { execFileSync } from 'node:child_process';

export function hasFio(): boolean {
  try {
    execFileSync('fio', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export interface FioJob {
  readonly rw: 'read' | 'write' | 'randread';
  readonly blockBytes: number;
  /** Transfers in flight. */
  readonly depth: number;
}

/**
 * Transfers a second of one job of a second, without any flush. What is on the disk is lost when it
 * writes.
 */
export function runFio(file: string, { rw, blockBytes, depth }: FioJob): number {
  const output = execFileSync(
    'fio',
    [
      '--name=bench',
      `--filename=${file}`,
      `--rw=${rw}`,
      `--bs=${blockBytes}`,
      `--iodepth=${depth}`,
      '--ioengine=libaio',
      '--direct=1',
      '--time_based',
      '--runtime=1',
      '--output-format=json',
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const { jobs } = JSON.parse(output) as {
    readonly jobs: readonly { readonly read: { iops: number }; readonly write: { iops: number } }[];
  };
  return jobs[0]![rw === 'write' ? 'write' : 'read'].iops;
}
