/**
 * Aim: the verbs and flags of ddfs do what they say and print what ddfs prints. Method: the
 * commands in this process against the real server over parts in memory, by its socket and by TCP;
 * a node in the background is a process that the test pretends to start.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryParts } from '../../test/control/memory-parts.ts';
import { type AdminService, serveAdmin } from '../admin/index.ts';
import { CONTROL_SOCKET, CONTROL_TOKEN } from '../api/index.ts';
import { realEnv } from '../env/index.ts';
import { main } from './index.ts';
import { type Io, processIo } from './io.ts';

const TOKEN = 'ab'.repeat(32);
const DEVICE = '/disks/disk-0';
const DEVICE_ID = '0a'.repeat(16);

let folder: string;
let parts: MemoryParts;
let server: AdminService;
let port: string;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-ddfs-'));
  await fs.mkdir(path.join(folder, 'data'), { mode: 0o700 });
  await fs.writeFile(path.join(folder, 'data', CONTROL_TOKEN), `${TOKEN}\n`);
  await fs.writeFile(path.join(folder, 'letter'), 'hello world');
  parts = new MemoryParts(path.join(folder, 'data'));
  const socketPath = path.join(folder, 'data', CONTROL_SOCKET);
  const tcp = { host: '127.0.0.1', port: 0, token: TOKEN };
  server = await serveAdmin({ parts, socketPath, tcp, env: realEnv() });
  port = server.address!.split(':').at(-1)!;
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await fs.rm(folder, { recursive: true });
});

class Captured extends Writable {
  text = '';
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function holdfast(argv: readonly string[], world: Partial<Io> = {}) {
  const stdout = new Captured();
  const stderr = new Captured();
  const { stdin: _, ...io } = Object.getOwnPropertyDescriptors(processIo());
  const given = Object.getOwnPropertyDescriptors({
    stdout,
    stderr,
    variables: {},
    workPath: folder,
    onSignal: () => () => {},
    ...world,
  });
  const all = Object.defineProperties({} as Io, { ...io, ...given });
  const code = await main(['--data', path.join(folder, 'data'), ...argv], all);
  return { code, out: stdout.text, error: stderr.text };
}

async function ok(...argv: string[]): Promise<string> {
  const { code, out, error } = await holdfast(argv);
  expect({ code, error }).toEqual({ code: 0, error: '' });
  return out;
}

describe('objects', () => {
  it.each(['its socket', 'TCP'])(
    'are put, queried, got and deleted by flags, over %s',
    async (way) => {
      const server = way === 'TCP' ? ['-s', '127.0.0.1', '-p', port] : [];
      const id = (await ok('put', '-f', 'letter', ...server)).trim();
      expect(id).toMatch(/^[0-9a-f]{32}$/);
      expect(await ok('query', '-i', id, ...server)).toBe(
        [
          `obj_id : ${id}`,
          'size : 11',
          'block : 4242',
          'bsize : 4096',
          `device : ${DEVICE}`,
          `sb_id : ${DEVICE_ID}`,
          '',
        ].join('\n'),
      );
      expect(await ok('get', '-i', id, '-f', 'back', ...server)).toBe('');
      expect(await fs.readFile(path.join(folder, 'back'), 'utf8')).toBe('hello world');
      const second = await holdfast(['get', '-i', id, '-f', 'back', ...server]);
      expect(second.code).toBe(4);
      expect(second.error).toMatch(/^holdfast: .*back exists.*\n$/);
      expect(await ok('delete', '-i', id, ...server)).toBe('');
      for (const verb of ['query', 'delete']) {
        const { code, out, error } = await holdfast([verb, '-i', id, ...server]);
        expect({ code, out, error }).toEqual({
          code: 3,
          out: '',
          error: `holdfast: no such object: ${id} (ENOENT)\n`,
        });
      }
      expect((await holdfast(['get', '-i', id, '-f', 'other', ...server])).code).toBe(3);
    },
  );

  it('without bytes begin nowhere', async () => {
    parts.objects.where = async function* () {};
    const id = (await ok('create')).trim();
    const text = await ok('query', '-i', id);
    expect(text).toMatch(/^size : 0$/m);
    for (const name of ['block', 'device', 'sb_id']) expect(text).toContain(`${name} : -\n`);
  });

  it.each([
    [['put', 'letter', '-f', 'letter'], /a file and -f say the same/],
    [['get', 'x', '-i', 'x'], /an object and -i say the same/],
    [['get', 'x', '-o', 'a', '-f', 'b'], /-o and -f say the same/],
    [['get'], /name an object/],
    [['query'], /name an object/],
    [['delete'], /-i is needed/],
    [['dev_query'], /-d is needed/],
    [['query', 'x', '-p', '99999'], /"99999" is no port/],
    [['up', '--listen', '9111'], /write IP:PORT/],
    [['up', '--no-stores', '--store', 'a'], /--no-stores goes with neither/],
    [['dev', 'add', 'x', '--replace-store'], /goes with --force/],
    [['dev', 'salvage', 'x'], /no keys; name the cluster with --cluster/],
    [['dev', 'salvage', 'x', '--cluster', '12'], /"12" is no id/],
  ])('%j is refused with one line', async (argv, message) => {
    const { code, out, error } = await holdfast(argv);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(error).toMatch(message);
    expect(error).toMatch(/^holdfast: [^\n]+\n$/);
  });
});

describe('devices', () => {
  it('are queried by their fields, whose sums are right', async () => {
    const text = await ok('dev_query', '-d', DEVICE);
    const fields = Object.fromEntries(
      text
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' : ')),
    ) as Record<string, string>;
    expect(Object.keys(fields)).toEqual(
      'dev_name major minor sb_id size used_size free_size bsize blocks used_blocks'
        .split(' ')
        .concat(['inodes_tree_block', 'bm_block', 'bm_blocks']),
    );
    const number = (name: string) => Number(fields[name]);
    expect(number('size')).toBe(number('blocks') * number('bsize'));
    expect(number('used_size')).toBe(number('used_blocks') * number('bsize'));
    expect(number('used_size') + number('free_size')).toBe(number('size'));
    expect(fields).toMatchObject({ dev_name: DEVICE, sb_id: DEVICE_ID, bm_block: '2081' });
  });

  it('are formatted only with -f', async () => {
    const refused = await holdfast(['dev_add', '-d', '/disks/new']);
    expect(refused).toEqual({
      code: 8,
      out: '',
      error: 'holdfast: /disks/new holds no store\n',
    });
    expect(await ok('dev_add', '-d', '/disks/new', '-f')).toBe('');
  });

  it('are drained when the others can take all, else detached with a warning', async () => {
    expect(await ok('dev_rem', '-d', DEVICE)).toBe('');
    expect(parts.devicesById.has(DEVICE_ID)).toBe(false);
    parts.isFull = true;
    const { code, error } = await holdfast(['dev_rem', '-d', '/disks/disk-1']);
    expect(code).toBe(0);
    expect(error).toBe('holdfast: warning: 2 objects cannot be read until it is back\n');
    expect(await ok('dev', 'list')).toMatch(/missing .*\/disks\/disk-1 \(detached\)$/m);
  });

  it('have limits', async () => {
    expect(await ok('dev', 'limits', DEVICE)).toMatch(/^hard max +: none$/m);
    const text = await ok('dev', 'limits', DEVICE, '--max', '10M', '--hard-max', '12M');
    expect(text).toMatch(/^max +: 10485760 \(10 MiB\)$/m);
    expect(parts.limits).toEqual({ minBytes: 0, maxBytes: 10_485_760, hardMaxBytes: 12_582_912 });
    expect(await ok('dev', 'query', DEVICE)).toMatch(/^hard max +: 12582912/m);
  });
});

describe('srv_start', () => {
  /** A start that ends at once, or never. */
  function starting(end: { printing?: string } = {}) {
    const seen: string[][] = [];
    const startDetached: Io['startDetached'] = async (args, outputFile) => {
      seen.push([...args]);
      await fs.appendFile(outputFile, `${end.printing ?? ''}\n`);
      const ended = end.printing === undefined ? new Promise(() => {}) : Promise.resolve();
      return { processId: process.pid, ended };
    };
    return { seen, startDetached };
  }

  it('starts a node without stores and waits until that one answers', async () => {
    const { seen, startDetached } = starting();
    const { code, out } = await holdfast(['srv_start', '-s', '127.0.0.1', '-p', '9000'], {
      startDetached,
    });
    expect(code).toBe(0);
    expect(out).toBe(`the node, process ${process.pid}, listens on 127.0.0.1:9000\n`);
    const dataPath = path.join(folder, 'data');
    const up = ['up', '--json', '--data', dataPath, '--no-stores', '--listen', '127.0.0.1:9000'];
    expect(seen).toEqual([up]);
  });

  it('says what kept the node from starting, with its exit code', async () => {
    parts.identity.processId = 1; // another node answers
    const error = { code: 'HF_BUSY', message: '127.0.0.1:9111 is in use by another program' };
    const { startDetached } = starting({ printing: JSON.stringify({ error }) });
    expect(await holdfast(['srv_start'], { startDetached })).toEqual({
      code: 8,
      out: '',
      error: `holdfast: ${error.message}\n`,
    });
    const silent = starting({ printing: 'Killed' });
    const { code, error: text } = await holdfast(['srv_start'], silent);
    expect(code).toBe(10);
    expect(text).toMatch(/has ended: see .*holdfast\.out/);
  });
});
