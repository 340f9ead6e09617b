/**
 * What bench/mount.ts has done in a mount, in a process of its own, one thread, one call after the
 * other: `node mount-work.ts STEP PATH COUNT`. It prints its figures as JSON, by name.
 *
 * Content is random and new in each run, and what is read is checked by its first bytes.
 */
import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { KiB, MiB } from '../src/base/index.ts';
import type { Figures } from './mount-figures.ts';

const SMALL_BYTES = 4 * KiB;
const POOL_PIECES = 16;

type Step = (place: string, count: number) => Figures;

const STEPS: Readonly<Record<string, Step>> = {
  /** A file of so many MiB. */
  write(place, count) {
    const pool = randomFillSync(Buffer.alloc(POOL_PIECES * MiB));
    const time = timed(() => {
      const fd = fs.openSync(place, 'wx');
      for (let number = 0; number < count; number += 1) {
        const from = (number % POOL_PIECES) * MiB;
        const piece = pool.subarray(from, from + MiB);
        // No piece is like another one: it would not have to be stored.
        randomFillSync(piece, 8, 16);
        piece.writeBigUInt64BE(BigInt(number));
        writeWhole(fd, piece);
      }
      fs.fsyncSync(fd);
      fs.closeSync(fd);
    });
    return { write: count / time };
  },

  read(place, count) {
    const piece = Buffer.alloc(MiB);
    const time = timed(() => {
      const fd = fs.openSync(place, 'r');
      for (let number = 0; number < count; number += 1) readWhole(fd, piece, number);
      fs.closeSync(fd);
    });
    return { read: count / time };
  },

  /** So many small files, and then what it takes until they are as safe as they get. */
  create(place, count) {
    const contents = smallContents(count);
    const time = timed(() => {
      for (const [number, name] of names(place, count)) {
        const fd = fs.openSync(name, 'wx');
        writeWhole(fd, contents(number));
        fs.closeSync(fd);
      }
    });
    const syncfs = timed(() => execFileSync('sync', ['--file-system', place]));
    const settle = timed(() => {
      for (const [, name] of names(place, count)) syncPath(name);
      syncPath(place);
    });
    const createSettled = count / (time + syncfs + settle);
    return { create: count / time, syncfs: syncfs * 1000, settle: settle * 1000, createSettled };
  },

  createSynced(place, count) {
    const contents = smallContents(count);
    const time = timed(() => {
      for (const [number, name] of names(place, count)) {
        const fd = fs.openSync(name, 'wx');
        writeWhole(fd, contents(number));
        fs.fsyncSync(fd);
        fs.closeSync(fd);
      }
    });
    return { createSynced: count / time };
  },

  stat(place, count) {
    const time = timed(() => {
      for (const [, name] of names(place, count)) {
        const { size } = fs.statSync(name);
        if (size !== SMALL_BYTES) throw new Error(`${name} has ${size} bytes`);
      }
    });
    return { stat: count / time };
  },

  readSmall(place, count) {
    const content = Buffer.alloc(SMALL_BYTES);
    const time = timed(() => {
      for (const [number, name] of names(place, count)) {
        const fd = fs.openSync(name, 'r');
        readWhole(fd, content, number);
        fs.closeSync(fd);
      }
    });
    return { readSmall: count / time };
  },

  unlink(place, count) {
    const time = timed(() => {
      for (const [, name] of names(place, count)) fs.unlinkSync(name);
    });
    const settle = timed(() => syncPath(place));
    return { unlink: count / time, unlinkSettle: settle * 1000 };
  },
};

/** Seconds. */
function timed(work: () => void): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}

function* names(folder: string, count: number): Generator<[number: number, name: string]> {
  for (let number = 0; number < count; number += 1) {
    yield [number, path.join(folder, `file-${number}`)];
  }
}

/** Made beforehand. */
function smallContents(count: number): (number: number) => Uint8Array {
  const all = randomFillSync(Buffer.alloc(count * SMALL_BYTES));
  for (let number = 0; number < count; number += 1) {
    all.writeBigUInt64BE(BigInt(number), number * SMALL_BYTES);
  }
  return (number) => all.subarray(number * SMALL_BYTES, (number + 1) * SMALL_BYTES);
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  const written = fs.writeSync(fd, bytes);
  if (written !== bytes.length) throw new Error(`${written} of ${bytes.length} bytes were written`);
}

function readWhole(fd: number, into: Buffer, number: number): void {
  let at = 0;
  while (at < into.length) {
    const read = fs.readSync(fd, into, at, into.length - at, null);
    if (read === 0) throw new Error(`piece ${number} ends at ${at}`);
    at += read;
  }
  if (into.readBigUInt64BE() !== BigInt(number)) throw new Error(`piece ${number} is another one`);
}

function syncPath(place: string): void {
  const fd = fs.openSync(place, 'r');
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

const [name, place, count] = process.argv.slice(2);
console.log(JSON.stringify(STEPS[name!]!(place!, Number(count))));
