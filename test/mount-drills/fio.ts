/**
 * Blocks that carry their own checksums, written and read back by fio: in order and at random,
 * by system calls and by mappings, flushed now and then, by several processes; then once more
 * after mounting again, so that what is read comes from the stores.
 */
import path from 'node:path';
import fs from 'node:fs/promises';
import { need, runCommand } from './commands.ts';
import type { Drill } from './drill.ts';

const MIB_PER_JOB = 16;

const JOBS: Readonly<Record<string, readonly string[]>> = {
  sequential: ['--rw=write', '--bs=128k', '--ioengine=psync', '--fsync=32'],
  random: ['--rw=randwrite', '--bs=4k', '--ioengine=psync', '--fsync=64'],
  odd: [
    '--rw=randwrite',
    '--bsrange=512-70000',
    '--bs_unaligned=1',
    '--ioengine=psync',
    '--end_fsync=1',
  ],
  mapped: ['--rw=randwrite', '--bs=4k', '--ioengine=mmap', '--fsync=128'],
  direct: ['--rw=randwrite', '--bs=16k', '--ioengine=psync', '--direct=1', '--fdatasync=16'],
};

export async function verifiedBlocks({
  mounts,
  seed,
  size = MIB_PER_JOB,
  say,
}: Drill): Promise<object> {
  need('fio');
  const figures: Record<string, number> = {};
  const folder = path.join(mounts.directory, 'fio');
  await fs.mkdir(folder);
  const words = (name: string) => [
    `--name=${name}`,
    `--directory=${folder}`,
    `--size=${size}m`,
    '--numjobs=2',
    `--randseed=${seed}`,
    '--verify=crc32c',
    '--verify_fatal=1',
    // Of files with their size from the first: else what is verified later is laid out anew.
    '--overwrite=1',
    '--fallocate=none',
    '--output-format=json',
    '--output=report',
    ...JOBS[name]!,
  ];
  // In the bed: fio keeps the state of what it verifies where it stands.
  const cwd = mounts.bed.path('work');
  const fio = async (...all: string[]): Promise<FioReport> => {
    const { exit, stderr } = await runCommand('fio', all, { cwd });
    const report = await fs.readFile(path.join(cwd, 'report'), 'utf8');
    // Before the report it says what it found wrong.
    const told = report.slice(0, Math.max(0, report.indexOf('\n{')));
    if (exit !== 0) throw new Error(`fio ${all.join(' ')}: ended with ${exit}: ${told}${stderr}`);
    return JSON.parse(report.slice(report.indexOf('{'))) as FioReport;
  };
  for (const name of Object.keys(JOBS)) {
    const { jobs } = await fio(...words(name), '--do_verify=1');
    const bytesPerSecond = jobs.reduce((sum, { write }) => sum + write.bw_bytes, 0);
    figures[`${name}MBps`] = Math.round(bytesPerSecond / 1e4) / 100;
    say(`${name}: ${(bytesPerSecond / 1e6).toFixed(1)} MB/s`);
  }
  await mounts.remount(mounts.points[0]!);
  for (const name of Object.keys(JOBS)) await fio(...words(name), '--verify_only=1');
  await fs.rm(folder, { recursive: true });
  return figures;
}

interface FioReport {
  readonly jobs: readonly { readonly write: { readonly bw_bytes: number } }[];
}
