/** A file of random content, and fresh content in it from run to run. */
import { randomFillSync } from 'node:crypto';
import fs from 'node:fs';
import { GiB, MiB } from '../src/base/index.ts';

export function writeRandom(file: string, sizeBytes: number): void {
  const part = Buffer.allocUnsafe(MiB);
  const descriptor = fs.openSync(file, 'w');
  for (let written = 0; written < sizeBytes; written += part.length) {
    fs.writeSync(descriptor, randomFillSync(part));
  }
  fs.closeSync(descriptor);
}

/** Changes a few bytes in each MiB, so that no stripe is the same as before. */
export function stamp(file: string): void {
  const descriptor = fs.openSync(file, 'r+');
  const mark = Buffer.allocUnsafe(16);
  for (let at = 0; at < GiB; at += MiB) fs.writeSync(descriptor, randomFillSync(mark), 0, 16, at);
  fs.closeSync(descriptor);
}
