/**
 * Aim: what the verbs about metadata and names print and refuse. Method: the command line in this
 * process against the control server over parts in memory; trees are tested with real nodes.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MemoryParts } from '../../test/control/memory-parts.ts';
import { runCli } from '../../test/control/run-cli.ts';
import { serveAdmin } from '../admin/index.ts';
import { CONTROL_SOCKET } from '../api/index.ts';
import { realEnv } from '../env/index.ts';

let folder: string;
let server: AsyncDisposable;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-meta-cli-'));
  const socketPath = path.join(folder, CONTROL_SOCKET);
  server = await serveAdmin({ parts: new MemoryParts(folder), socketPath, env: realEnv() });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await fs.rm(folder, { recursive: true, force: true });
});

const holdfast = (...argv: readonly string[]) => runCli(folder, argv);

it('meta status shows the engine, the ring and the cells', async () => {
  const { code, out } = await holdfast('meta', 'status');
  expect(code).toBe(0);
  expect(out).toMatch(/engine +: etcd/);
  expect(out).toMatch(/note +: all is told/);
  expect(out).toMatch(/berlin +member, leads +running +3\.4\.23/);
  expect(out).toMatch(/munich +member +does not answer/);
  expect(out).toMatch(/default +0–2047 +rome +berlin munich \(3 behind\) rome +99/);
  expect(out).toMatch(/references +all +none answers/);
});

it('meta where names the cell, its nodes and the steward', async () => {
  const { out } = await holdfast('meta', 'where', 'a/b');
  expect(out).toBe(
    'entry: slot 7, cell volume-0d on berlin, munich (3 behind), rome; steward: rome\n',
  );
  expect(JSON.parse((await holdfast('meta', 'where', '--json')).out)).toHaveLength(1);
  const gone = await holdfast('meta', 'where', 'gone');
  expect([gone.code, gone.out]).toEqual([3, '']);
});

it('meta use-etcd hands over addresses and texts of files', async () => {
  const ca = path.join(folder, 'ca.pem');
  await fs.writeFile(ca, 'PEM');
  const words = ['meta', 'use-etcd', 'https://a,https://b', '--prefix', 'p/', '--ca'];
  const { code, out } = await holdfast(...words, ca);
  expect([code, out]).toEqual([0, 'kept in https://a and https://b: p/, vouched for by PEM\n']);
  const missing = await holdfast(...words, path.join(folder, 'none'));
  expect(missing.code).toBe(3);
  expect(missing.error).toContain('cannot read');
});

it('meta restore asks whether the others are lost for good', async () => {
  const asked = await holdfast('meta', 'restore');
  expect(asked.code).toBe(2);
  expect(asked.error).toContain('--lost-for-good');
  const { code, out } = await holdfast('meta', 'restore', '--lost-for-good');
  expect([code, out]).toEqual([0, 'lost: the last moments\n']);
});
