/**
 * A disk for benches: a loop device over a file where this process may make one, else the file. The
 * file is written from end to end first, so that no block of it is used for the first time while
 * something is measured.
 *
 * The file of a loop device is unlinked and the device is set to detach itself with its last user:
 * nothing is left behind, however this process ends. A mere file is removed when it exits.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { MiB } from '../src/base/index.ts';

export interface BenchDisk extends Disposable {
  readonly path: string;
  readonly kind: 'loop device' | 'file';
}

/** @param sizeBytes whole MiB; the filesystem of the temporary folder must have them. */
export function openBenchDisk(sizeBytes: number): BenchDisk {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-'));
  const removeFolder = (): void => fs.rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeFolder);
  const file = path.join(folder, 'disk');
  writeThrough(file, sizeBytes);
  const loop = attachLoop(file);
  if (!loop) return { path: file, kind: 'file', [Symbol.dispose]: removeFolder };
  removeFolder();
  return { path: loop.path, kind: 'loop device', [Symbol.dispose]: () => fs.closeSync(loop.fd) };
}

/** Bytes that are free for the file of {@link openBenchDisk}. */
export function freeBenchBytes(): number {
  const { bavail, bsize } = fs.statfsSync(os.tmpdir());
  return bavail * bsize;
}

/** A loop device that is there until `fd` is closed; `undefined` where there can be none. */
function attachLoop(file: string): { path: string; fd: number } | undefined {
  const losetup = (...args: string[]): string =>
    execFileSync('losetup', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
  try {
    const loop = losetup('--find', '--show', '--direct-io=on', file);
    const fd = fs.openSync(loop, 'r');
    losetup('--detach', loop);
    return { path: loop, fd };
  } catch {
    return undefined;
  }
}

function writeThrough(file: string, sizeBytes: number): void {
  const part = Buffer.alloc(4 * MiB, 0x5a);
  const fd = fs.openSync(file, 'w');
  for (let at = 0; at < sizeBytes; at += part.length) {
    fs.writeSync(fd, part, 0, Math.min(part.length, sizeBytes - at), at);
  }
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}
