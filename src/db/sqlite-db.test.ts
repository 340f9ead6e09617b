/**
 * Aim: SqliteDb passes the suite; what it acknowledged outlives a killed process; a file that is
 * not ours, or not what was written, is refused; its write-ahead log stays bounded. Method: the
 * suite of all engines, a child process that is killed while it writes, and files changed from
 * outside.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { testLocalDb } from '../../test/suites/local-db.ts';
import { MiB, utf8 } from '../base/index.ts';
import { SqliteDb, SqliteThread } from './index.ts';

/** All databases here share one, as those of a node do. */
const thread = new SqliteThread();
afterAll(async () => await thread[Symbol.asyncDispose]());

function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'holdfast-db-'));
}

testLocalDb('SQLite', async () => {
  const folder = makeFolder();
  const path = join(folder, 'cell.db');
  return {
    open: (options) => SqliteDb.open({ path, thread, ...options }),
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true });
    },
  };
});

/** Writes pairs of rows, 16 transactions in flight, and prints each number once acknowledged. */
const WRITER = `
  const { SqliteDb, SqliteThread } = await import(process.argv[2]);
  const db = await SqliteDb.open({ path: process.argv[3], thread: new SqliteThread() });
  const key = (name, number) => Buffer.from(name + String(number).padStart(8, '0'));
  let next = 0;
  async function write() {
    for (;;) {
      const number = next++;
      const value = Buffer.from(String(number));
      const puts = ['left', 'right'].map((name) => ({ key: key(name, number), value }));
      await db.transact({ puts, deletes: [] });
      process.stdout.write(number + '\\n');
    }
  }
  await Promise.all(Array.from({ length: 16 }, write));
`;

/** @returns the numbers that the child acknowledged before it was killed. */
async function writeUntilKilled(path: string, acknowledgedMin: number): Promise<number[]> {
  const program = `${path}.writer.mjs`;
  writeFileSync(program, WRITER);
  const index = new URL('./index.ts', import.meta.url).href;
  const child = spawn(process.execPath, [program, index, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  for await (const chunk of child.stdout) {
    printed += String(chunk);
    if (printed.split('\n').length > acknowledgedMin) child.kill('SIGKILL');
  }
  return printed.split('\n').slice(0, -1).map(Number);
}

describe('SqliteDb', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = makeFolder();
    path = join(folder, 'cell.db');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('has every acknowledged transaction, whole, after the process was killed', async () => {
    for (const acknowledgedMin of [1, 500]) {
      path = join(folder, `${acknowledgedMin}.db`);
      const acknowledged = await writeUntilKilled(path, acknowledgedMin);
      expect(acknowledged.length).toBeGreaterThanOrEqual(acknowledgedMin);
      await using db = await SqliteDb.open({ path, thread });
      const left = db.range({ from: utf8('left'), to: utf8('lefu') });
      const right = db.range({ from: utf8('right'), to: utf8('righu') });
      expect(right.map(({ value }) => value)).toEqual(left.map(({ value }) => value));
      const stored = new Set(left.map(({ value }) => Number(Buffer.from(value))));
      expect(acknowledged.filter((number) => !stored.has(number))).toEqual([]);
    }
  });

  it('is readable by its owner only, log and all', async () => {
    writeFileSync(path, '', { mode: 0o644 });
    await using db = await SqliteDb.open({ path, thread });
    await db.transact({ puts: [{ key: utf8('a'), value: utf8('1') }], deletes: [] });
    for (const each of [path, `${path}-wal`, `${path}-shm`]) {
      expect((statSync(each).mode & 0o777).toString(8)).toBe('600');
    }
  });

  it('refuses a file that is no database', async () => {
    writeFileSync(path, 'no database '.repeat(1000));
    await expect(SqliteDb.open({ path, thread })).rejects.toMatchObject({ code: 'HF_CORRUPT' });
  });

  it('refuses the database of another program, and a folder that is not there', async () => {
    const other = new DatabaseSync(path);
    other.exec('CREATE TABLE theirs (a)');
    other.close();
    await expect(SqliteDb.open({ path, thread })).rejects.toMatchObject({ code: 'HF_NOT_OURS' });
    const nowhere = join(folder, 'absent', 'cell.db');
    await expect(SqliteDb.open({ path: nowhere, thread })).rejects.toMatchObject({ code: 'HF_IO' });
  });

  it('finds a flipped bit in a value', async () => {
    const value = utf8('the value whose bit is flipped');
    const db = await SqliteDb.open({ path, thread });
    await db.transact({ puts: [{ key: utf8('a'), value }], deletes: [] });
    await db[Symbol.asyncDispose]();
    const file = readFileSync(path);
    const at = file.indexOf(value);
    expect(at).toBeGreaterThan(0);
    file[at]! ^= 1;
    writeFileSync(path, file);
    await using again = await SqliteDb.open({ path, thread });
    const corrupt = expect.objectContaining({ code: 'HF_CORRUPT' });
    expect(() => again.get(utf8('a'))).toThrow(corrupt);
    expect(() => again.range({ from: utf8('a'), to: utf8('b') })).toThrow(corrupt);
  });

  it('writes its log back although it is always being read', async () => {
    await using db = await SqliteDb.open({ path, thread });
    const value = new Uint8Array(512 * 1024).fill(1);
    for (let round = 0; round < 128; round++) {
      const key = utf8(`${round % 8}`);
      const commit = db.transact({ puts: [{ key, value }], deletes: [] });
      db.get(key);
      await commit;
      expect(db.get(key)?.length).toBe(value.length);
    }
    expect(statSync(`${path}-wal`).size).toBeLessThan(32 * MiB);
  });
});
