/**
 * Aim: a volume that is mounted on two nodes is one file system: who opens a file sees what was
 * closed on the other node, names are the same at once, and what one node removes stays for who has
 * it open on the other. Method: two nodes on loopback, a mount of each through the real /dev/fuse.
 * Needs root and /dev/fuse; skipped, loudly, elsewhere.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NodeView } from '../../src/api/index.ts';
import { seededBytes } from './content.ts';
import { Bed, type NodeProcess, until } from './harness.ts';

const canMount = process.getuid?.() === 0 && existsSync('/dev/fuse');
if (!canMount) console.warn('SKIPPED: tests of mounted volumes need root and /dev/fuse');

const LISTEN = ['--listen', 'tls://127.0.0.1:0'];
const NODES = ['a', 'b'] as const;
/** A program that has not ended by then waits. */
const STUCK_MS = 500;

let bed: Bed;
let home: NodeProcess;

const at = (node: (typeof NODES)[number], name: string): string => bed.path(`mnt-${node}`, name);

describe.skipIf(!canMount)('a volume mounted on two nodes', () => {
  beforeAll(async () => {
    bed = await Bed.open();
    home = await bed.up({ data: 'a', flags: [...LISTEN, '--name', 'a'] });
    const token = await bed.ok(['invite'], { data: 'a' });
    const stores = [1, 2, 3].map((number) => bed.path('b', `disk-${number}`));
    await bed.up({ data: 'b', flags: [...LISTEN, '--name', 'b'], stores, token });
    await until('they know each other', async () => {
      const peers = await bed.json<NodeView[]>(['peers'], { data: 'b' });
      return peers.filter(({ state }) => state === 'self' || state === 'alive').length === 2;
    });
    for (const data of NODES) {
      await fs.mkdir(at(data, ''));
      await until('it can be mounted', async () => {
        const { exitCode } = await bed.run(['mount', 'default', at(data, '')], { data });
        return exitCode === 0;
      });
    }
  });

  afterAll(async () => {
    for (const data of NODES) await bed.run(['umount', at(data, ''), '--force'], { data });
    await bed[Symbol.asyncDispose]();
  });

  it('shows on one what was closed on the other', async () => {
    const content = await seededBytes('across', 3_000_000);
    for (const [from, to] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      await fs.writeFile(at(from, 'file'), content.subarray(from === 'a' ? 0 : 1));
      const read = await fs.readFile(at(to, 'file'));
      expect(read.equals(content.subarray(from === 'a' ? 0 : 1)), from).toBe(true);
      await fs.appendFile(at(to, 'file'), 'more');
      expect((await fs.stat(at(from, 'file'))).size).toBe(read.length + 4);
      expect((await fs.readFile(at(from, 'file'))).subarray(-4).toString()).toBe('more');
    }
  });

  it('has the same names on both, at once', async () => {
    await fs.mkdir(at('a', 'directory'));
    await fs.writeFile(at('b', 'directory/one'), '1');
    await fs.rename(at('a', 'directory/one'), at('a', 'directory/two'));
    expect(await fs.readdir(at('b', 'directory'))).toEqual(['two']);
    await fs.writeFile(at('b', 'directory/next'), 'next');
    await fs.rename(at('b', 'directory/next'), at('b', 'directory/two'));
    expect(await fs.readFile(at('a', 'directory/two'), 'utf8')).toBe('next');
    await fs.rm(at('a', 'directory'), { recursive: true });
    expect(existsSync(at('b', 'directory'))).toBe(false);
  });

  it('keeps what one removes for who has it open on the other', async () => {
    await fs.writeFile(at('a', 'doomed'), 'content');
    await using file = await fs.open(at('b', 'doomed'), 'r+');
    await fs.unlink(at('a', 'doomed'));
    await bed.ok(['repair'], { data: 'a' });
    expect(await file.readFile('utf8')).toBe('content');
    await file.write('CON', 0);
    await file.sync();
    expect((await file.stat()).nlink).toBe(0);
  });

  it('lets go who is killed while the other node answers nothing', async () => {
    await fs.writeFile(at('a', 'far'), 'content');
    home.child.kill('SIGSTOP');
    try {
      const readers = Array.from({ length: 3 }, () => spawn('cat', [at('b', 'far')]));
      const ends = readers.map(async (reader) => await once(reader, 'exit'));
      await setTimeout(STUCK_MS);
      for (const reader of readers) {
        expect([reader.exitCode, reader.signalCode], 'it is stuck').toEqual([null, null]);
        reader.kill('SIGKILL');
      }
      for (const [, signal] of await Promise.all(ends)) expect(signal).toBe('SIGKILL');
    } finally {
      home.child.kill('SIGCONT');
    }
    await until('it answers again', async () => {
      return (await fs.readFile(at('b', 'far'), 'utf8').catch(() => '')) === 'content';
    });
  });
});
