/**
 * Aim: what people and scripts see: standard output, standard error, exit codes, files. Method: the
 * commands in this process, with streams of our own, against the real server over parts in memory.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryParts } from '../../test/control/memory-parts.ts';
import { serveAdmin } from '../admin/index.ts';
import { CONTROL_SOCKET } from '../api/index.ts';
import { realEnv } from '../env/index.ts';
import { cliReference, commandTree, main } from './index.ts';
import { type Io, processIo, type Signal } from './io.ts';

let folder: string;
let parts: MemoryParts;
let server: AsyncDisposable;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-cli-'));
  await fs.mkdir(path.join(folder, 'data'), { mode: 0o700 });
  await fs.mkdir(path.join(folder, 'work'));
  parts = new MemoryParts(path.join(folder, 'data'));
  server = await serveAdmin({ parts, socketPath: socketOf('data'), env: realEnv() });
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await fs.rm(folder, { recursive: true });
});

function socketOf(data: string): string {
  return path.join(folder, data, CONTROL_SOCKET);
}

function inWork(name: string): string {
  return path.join(folder, 'work', name);
}

class Captured extends Writable {
  readonly isTTY: boolean;
  text = '';
  /** Fails like a pipe without a reader, from so many bytes on. */
  brokenAt = Infinity;

  constructor(isTerminal = false) {
    super();
    this.isTTY = isTerminal;
  }

  override _write(chunk: Buffer, _: string, done: (error?: Error) => void): void {
    if (this.text.length + chunk.length > this.brokenAt) {
      done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      return;
    }
    this.text += chunk.toString('latin1');
    done();
  }
}

interface World {
  readonly stdin: Uint8Array;
  readonly isTerminal: boolean;
  readonly brokenAt: number;
  readonly io: Partial<Io>;
}

async function holdfast(argv: readonly string[], world: Partial<World> = {}) {
  const stdout = new Captured();
  const stderr = new Captured(world.isTerminal);
  stdout.brokenAt = world.brokenAt ?? Infinity;
  const io: Io = Object.defineProperties(
    {} as Io,
    Object.getOwnPropertyDescriptors({
      ...processIo(),
      stdin: Readable.from(world.stdin ? [world.stdin] : []),
      stdout,
      stderr,
      variables: { HOLDFAST_DATA: path.join(folder, 'data'), UV_THREADPOOL_SIZE: '32' },
      workPath: path.join(folder, 'work'),
      onSignal: () => () => {},
      ...world.io,
    }),
  );
  const code = await main(argv, io);
  return { code, out: stdout.text, error: stderr.text };
}

/** The standard output of a command that must succeed. */
async function run(...argv: string[]): Promise<string> {
  const { code, out, error } = await holdfast(argv);
  expect({ code, error }).toEqual({ code: 0, error: '' });
  return out;
}

async function put(name: string, text: string, ...options: string[]): Promise<string> {
  await fs.writeFile(inWork(name), text);
  return (await run('put', name, ...options)).trim();
}

async function filesHere(): Promise<string[]> {
  return (await fs.readdir(path.join(folder, 'work'))).toSorted();
}

describe('put', () => {
  it('prints the id and nothing else', async () => {
    await fs.writeFile(inWork('report.pdf'), 'x'.repeat(3_000_000));
    const { code, out, error } = await holdfast(['put', 'report.pdf']);
    expect(code).toBe(0);
    expect(out).toMatch(/^[0-9a-f]{32}\n$/);
    expect(error).toBe('');
    const { object, stripeCount, knownStripes, degradedTo } = JSON.parse(
      await run('put', 'report.pdf', '--name', 'a/b', '--json', '--scheme', 'copy-3'),
    ) as Record<string, unknown>;
    expect(object).toMatchObject({
      key: 'a/b',
      fileName: 'report.pdf',
      mediaType: 'application/pdf',
      sizeBytes: 3_000_000,
      scheme: 'copy-3',
    });
    expect({ stripeCount, knownStripes, degradedTo }).toEqual({
      stripeCount: 1,
      knownStripes: 0,
      degradedTo: null,
    });
  });

  it('takes standard input', async () => {
    const stdin = Buffer.from('from a pipe');
    const { code, out } = await holdfast(['put', '-', '--name', 'logs/today.txt'], { stdin });
    expect(code).toBe(0);
    expect(parts.objects.stored.get(out.trim())).toMatchObject({
      info: { key: 'logs/today.txt', fileName: 'today.txt', mediaType: 'text/plain' },
      bytes: new Uint8Array(stdin),
    });
  });

  it('fills an object that was made before', async () => {
    const id = (await run('create')).trim();
    expect(await put('a', 'abc', '--id', id)).toBe(id);
  });

  it('refuses what is no file before it sends anything', async () => {
    const missing = await holdfast(['put', 'none']);
    expect(missing).toEqual({ code: 3, out: '', error: 'holdfast: there is no file none\n' });
    const directory = await holdfast(['put', '.']);
    expect(directory.code).toBe(2);
    expect(directory.error).toBe('holdfast: . is a directory; put takes files\n');
    expect(parts.objects.broken).toEqual([]);
  });

  it('warns when fewer stores may be lost than promised', async () => {
    await fs.writeFile(inWork('a'), 'abc');
    const original = parts.objects.put.bind(parts.objects);
    parts.objects.put = async (content, options) =>
      Object.assign(await original(content, options), { degradedTo: 1 });
    const { code, out, error } = await holdfast(['put', 'a']);
    expect(code).toBe(0);
    expect(out).toMatch(/^[0-9a-f]{32}\n$/);
    expect(error).toMatch(/^holdfast: warning: .*only 1 store may be lost.*\n$/);
  });

  it('draws a bar for those who look, and takes it away', async () => {
    await fs.writeFile(inWork('large'), Buffer.alloc(17 << 20));
    const { error } = await holdfast(['put', 'large'], { isTerminal: true });
    expect(error).toMatch(/put \[#*\.*\] +\d+ %/);
    expect(error.endsWith('\r\u001b[K')).toBe(true);
  });
});

describe('get', () => {
  it('restores the name, whole, and keeps what is there', async () => {
    const id = await put('resume.v2.pdf', 'content');
    await fs.rm(inWork('resume.v2.pdf'));
    expect(await run('get', id)).toBe('resume.v2.pdf\n');
    expect(await fs.readFile(inWork('resume.v2.pdf'), 'utf8')).toBe('content');
    await fs.writeFile(inWork('resume.v2.pdf'), 'precious');
    const second = await holdfast(['get', id]);
    expect(second.code).toBe(4);
    expect(second.error).toMatch(/^holdfast: .*resume\.v2\.pdf exists; [^\n]*--force\n$/);
    expect(await fs.readFile(inWork('resume.v2.pdf'), 'utf8')).toBe('precious');
    await run('get', id, '--force');
    expect(await fs.readFile(inWork('resume.v2.pdf'), 'utf8')).toBe('content');
    expect(await filesHere()).toEqual(['resume.v2.pdf']);
  });

  it.each([
    ['../../etc/passwd', undefined, 'passwd'],
    ['..', 'a/b', 'b'],
    ['', 'a/b', 'b'],
    ['', undefined, '0'.repeat(31) + '1'],
  ])('never leaves the directory: %j, key %j', async (fileName, key, expected) => {
    const { info } = await parts.objects.put(Readable.from(['x'].map((s) => Buffer.from(s))), {
      fileName,
      key,
    });
    await run('get', info.id);
    expect(await filesHere()).toEqual([expected]);
  });

  it('writes to what is named, to streams, and ranges', async () => {
    const id = await put('a', '0123456789', '--name', 'k');
    await run('get', 'k', '-o', 'b');
    expect(await fs.readFile(inWork('b'), 'utf8')).toBe('0123456789');
    expect(await run('get', id, '-o', '-')).toBe('0123456789');
    expect(await run('get', id, '-o', '-', '--offset', '2', '--length', '3')).toBe('234');
    expect(await run('get', id, '-o', '/dev/null')).toBe('');
    expect(await filesHere()).toEqual(['a', 'b']);
    expect(JSON.parse(await run('get', id, '-o', 'c', '--json'))).toMatchObject({
      object: { id },
      path: inWork('c'),
    });
  });

  it('leaves no file when the content cannot be had whole', async () => {
    const id = await put('a', 'x'.repeat(3_000_000));
    parts.objects.failReadAt = 2_000_000;
    const failed = await holdfast(['get', id, '-o', 'b']);
    expect(failed).toEqual({ code: 6, out: '', error: 'holdfast: have 3, need 4\n' });
    await fs.writeFile(inWork('c'), 'old');
    expect((await holdfast(['get', id, '-o', 'c', '--force'])).code).toBe(6);
    expect(await fs.readFile(inWork('c'), 'utf8')).toBe('old');
    expect(await filesHere()).toEqual(['a', 'c']);
  });

  it('is quiet when nobody reads on, and stops', async () => {
    const id = await put('a', 'x'.repeat(3_000_000));
    const { code, error } = await holdfast(['get', id, '-o', '-'], { brokenAt: 500_000 });
    expect({ code, error }).toEqual({ code: 141, error: '' });
    await fs.rm(inWork('a'));
  });

  it('stops at a signal and takes away what it began', async () => {
    const id = await put('a', 'x'.repeat(30_000_000));
    let signalled: (signal: Signal) => void = () => {};
    const stderr = new Captured(true);
    const original = stderr._write.bind(stderr);
    stderr._write = (chunk: Buffer, encoding: string, done: () => void) => {
      signalled('SIGINT');
      original(chunk, encoding, done);
    };
    const io = {
      stderr,
      onSignal(listener: (signal: Signal) => void) {
        signalled = listener;
        return () => {};
      },
    };
    const { code } = await holdfast(['get', id, '-o', 'b'], { io });
    expect(code).toBe(130);
    expect(stderr.text).toMatch(/holdfast: interrupted\n$/);
    expect(await filesHere()).toEqual(['a']);
  });

  it.each([
    [['-o', '.'], 2, /is a directory/],
    [['-o', 'none/b'], 3, /there is no directory/],
    [['-o', 'b', '--offset', 'x'], 2, /no whole number/],
    [['-o', 'b', '--offset', '99'], 2, /ends at 3 bytes/],
  ])('refuses %j', async (options, code, message) => {
    const id = await put('a', 'abc');
    const refused = await holdfast(['get', id, ...options]);
    expect(refused.code).toBe(code);
    expect(refused.error).toMatch(message);
    expect(await filesHere()).toEqual(['a']);
  });
});

describe('objects', () => {
  it('are listed by key, those without one at the end', async () => {
    const first = await put('a', 'x'.repeat(2048));
    const second = await put('b', 'abc', '--name', 'logs/today');
    expect(await run('ls')).toBe(
      `${'logs/today'.padEnd(40)}         3 B  ${second}\n` +
        `${'- (a)'.padEnd(40)}       2 KiB  ${first}\n`,
    );
    expect(JSON.parse(await run('ls', '--json'))).toMatchObject([
      { key: 'logs/today', id: second, sizeBytes: 3 },
      { key: null, id: first, sizeBytes: 2048 },
    ]);
    expect(JSON.parse(await run('ls', 'none', '--json'))).toEqual([]);
  });

  it('are queried, located and removed', async () => {
    const id = await put('a.txt', 'hello world', '--name', 'k');
    expect((await run('query', 'k')).split('\n')).toEqual([
      `id         : ${id}`,
      'key        : k',
      'file name  : a.txt',
      'media type : text/plain',
      'size       : 11',
      'scheme     : rs-4+2',
      `address    : ${id}${id}`,
      'created    : 2026-01-02T03:04:05.000Z',
      '',
    ]);
    const where = (await run('where', id)).split('\n');
    expect(where[0]).toMatch(/^stripe +shard +wanted +found +at$/);
    expect(where[1]).toBe('0 rs-4+2  0      0a0a0a0a  0a0a0a0a  -');
    expect(where[2]).toBe('0 rs-4+2  1      1a1a1a1a  missing   -');
    const { code, error } = await holdfast(['rm', 'none', 'k', 'nothing']);
    expect(code).toBe(3);
    expect(error.trim().split('\n')).toHaveLength(2);
    expect(parts.objects.stored.size).toBe(0);
    expect((await holdfast(['query', id])).code).toBe(3);
  });

  it('are not read as they were a while ago where that is not wanted', async () => {
    await put('a.txt', 'hello world', '--name', 'k');
    let staleReads = 0;
    parts.staleReadCount = () => (staleReads += 1); // one at each look
    await run('query', 'k');
    await run('get', 'k', '-o', '-');
    for (const verb of [['query', 'k'], ['ls'], ['get', 'k', '-o', '-']]) {
      const { code, error } = await holdfast(['--strict', ...verb]);
      expect([code, error]).toEqual([6, expect.stringContaining('may be old')]);
      expect((await holdfast([...verb, '--strict'])).code).toBe(6);
    }
  });
});

describe('stores and volumes', () => {
  it('are listed in a form of their own for programs', async () => {
    const devices = JSON.parse(await run('dev', 'list', '--json')) as object[];
    expect(devices).toHaveLength(6);
    expect(Object.keys(devices[0]!).toSorted()).toEqual(
      ['id', 'kind', 'path', 'sizeBytes', 'state', 'usedBytes'].toSorted(),
    );
    expect((await run('dev', 'list')).split('\n')[1]).toBe(
      '0a0a0a0a  active  1 GiB  1 MiB  directory  /disks/disk-0',
    );
  });

  it('are added with a path as seen from here, queried and removed', async () => {
    expect(await run('dev', 'add', 'disk', '--capacity', '10M')).toContain(inWork('disk'));
    const added = JSON.parse(await run('dev', 'query', './disk', '--json')) as object;
    expect(added).toMatchObject({ path: inWork('disk'), sizeBytes: 10 << 20 });
    expect(await run('dev', 'query', 'ff')).toMatch(/^format +: 1$/m);
    await run('dev', 'remove', 'ffff', '--force');
    expect((await holdfast(['dev', 'query', 'ff'])).code).toBe(3);
  });

  it('are made, listed and set', async () => {
    await run('volume', 'create', 'photos', '--scheme', 'ida-3of5', '--no-dedup');
    expect(parts.volumeRecords.get('photos')).toMatchObject({ isDeduplicating: false });
    await run('volume', 'policy', 'photos', '--scheme', 'rs-10+4');
    expect(await run('volume', 'list')).toMatch(/^photos +rs-10\+4 /m);
    expect((await holdfast(['volume', 'create', 'photos'])).code).toBe(4);
    expect((await holdfast(['volume', 'policy', 'photos'])).code).toBe(2);
    await run('volume', 'create', 'ledger', '--worm', '--retain', '30d', '--scheme', 'cas,rs-4+2');
    expect(await run('volume', 'list')).toMatch(/^ledger +near-4,rs-4\+2 .* 30d$/m);
    await run('volume', 'policy', 'ledger', '--retain', 'forever');
    expect(await run('volume', 'list')).toMatch(/^ledger .* forever$/m);
    expect((await holdfast(['volume', 'create', 'x', '--retain', '1d'])).code).toBe(2);
  });

  it('and their objects are stored otherwise, one or all', async () => {
    await fs.writeFile(inWork('again.txt'), 'again');
    const id = (await run('put', 'again.txt')).trim();
    await run('reencode', id, '--scheme', 'rs-4+2,copy-1');
    expect(await run('query', id)).toMatch(/^scheme +: rs-4\+2,copy-1$/m);
    const applied = await run('volume', 'policy', 'default', '--scheme', 'copy-3', '--apply');
    expect(applied).toMatch(/stores with copy-3 from now on\n\d+ objects? stored anew, 0 were/);
    expect((await holdfast(['reencode', id])).code).toBe(2);
    expect((await holdfast(['ls', '--volume', 'none'])).code).toBe(3);
  });
});

describe('care', () => {
  it.each([
    [0, 0, 0],
    [2, 0, 1],
    [2, 1, 6],
  ])('health with %i degraded and %i lost exits with %i', async (degraded, lost, expected) => {
    parts.healthSummary = { ...parts.healthSummary, stripes: { ok: 3, degraded, lost } };
    const { code, out } = await holdfast(['health', '--json']);
    expect(code).toBe(expected);
    expect(JSON.parse(out)).toMatchObject({ stripes: { ok: 3, degraded, lost } });
    expect((await holdfast(['health'])).out).toContain(`3 ok, ${degraded} degraded, ${lost} lost`);
  });

  it('scrub exits with 1 when something is bad', async () => {
    expect(JSON.parse(await run('scrub', '--json'))).toMatchObject({ checked: 1000, bad: 0 });
    parts.badChunks = 3;
    const { code, out } = await holdfast(['scrub']);
    expect(code).toBe(1);
    expect(out).toContain('3 bad');
    expect(await run('repair')).toContain('repaired 2 stripes, wrote 4 KiB');
  });

  it('doctor looks at what there is, and fails when something fails', async () => {
    const fine = await holdfast(['doctor']);
    expect(fine.code).toBe(0);
    expect(fine.out).toContain('ok    data directory');
    expect(fine.out).toContain('warn  no kit was exported');
    const [id, view] = [...parts.devicesById][0]!;
    parts.devicesById.set(id, { ...view, state: 'failed', reason: 'flush failed' });
    const ill = await holdfast(['doctor', '--json']);
    expect(ill.code).toBe(1);
    expect(JSON.parse(ill.out)).toContainEqual(
      expect.objectContaining({
        state: 'fail',
        what: 'store /disks/disk-0 is failed: flush failed',
      }),
    );
    const none = await holdfast(['doctor', '--data', path.join(folder, 'none')]);
    expect(none.code).toBe(0);
    expect(none.out).toContain('warn  no node is running');
  });
});

describe('key export', () => {
  it('writes a file for the owner only, once', async () => {
    expect(await run('key', 'export', 'kit')).toMatch(/kit is in .*\nkeep it apart/);
    expect((await fs.stat(inWork('kit'))).mode & 0o777).toBe(0o600);
    expect(await fs.readFile(inWork('kit'), 'utf8')).toBe('KIT\n');
    expect((await holdfast(['key', 'export', 'kit'])).code).toBe(4);
    const { out, error } = await holdfast(['key', 'export']);
    expect(out).toBe('KIT\n');
    expect(error).toContain('keep it apart');
  });

  it('leaves no file when there is no kit', async () => {
    parts.exportKit = () => Promise.reject(new Error('no keys'));
    expect((await holdfast(['key', 'export', 'kit'])).code).toBe(70);
    expect(await filesHere()).toEqual([]);
  });
});

describe('the node', () => {
  it('is shown', async () => {
    const text = await run('status');
    expect(text).toMatch(/^data +: .*\/data$/m);
    expect(text).toMatch(/^default +rs-4\+2 /m);
    expect(text).toContain('warning: no kit was exported');
  });

  it('is stopped, and waited for', async () => {
    void parts.stopAsked.promise.then(() => server[Symbol.asyncDispose]());
    expect(await run('down')).toBe('the node has stopped\n');
    await expect(fs.stat(socketOf('data'))).rejects.toThrow('ENOENT');
    const { code, error } = await holdfast(['down']);
    expect(code).toBe(10);
    expect(error).toBe(
      `holdfast: no node is running on ${folder}/data; start one with: holdfast up\n`,
    );
    server = await serveAdmin({ parts, socketPath: socketOf('data'), env: realEnv() });
  });

  /** `up` on a node that does nothing but say what becomes of it. */
  async function up(argv: readonly string[], during: (world: UpWorld) => void) {
    const seen: string[] = [];
    const stopped = Promise.withResolvers<void>();
    const world: UpWorld = { signal: () => {}, nowMs: 0, seen, end: () => stopped.resolve() };
    let options: unknown;
    const node = {
      isFirstRun: true,
      welcome: ['welcome'],
      stopped: stopped.promise,
      stop: () => void seen.push('stop'),
      [Symbol.asyncDispose]: async () => void seen.push('dispose'),
    };
    const io: Partial<Io> = {
      clock: { ...realEnv().clock, monotonic: () => world.nowMs },
      onSignal: (listener) => {
        world.signal = listener;
        return () => {};
      },
      die: (signal) => {
        seen.push(signal);
        stopped.resolve();
      },
      loadNode: async () => ({
        readKnownStores: async () => undefined,
        joinNode: async () => true,
        async openNode(given) {
          options = given;
          setImmediate(() => during(world));
          return node;
        },
      }),
    };
    const { code, out } = await holdfast(argv, { io });
    return { code, out, seen, options };
  }

  interface UpWorld {
    signal: (signal: Signal) => void;
    nowMs: number;
    readonly seen: string[];
    end(): void;
  }

  it('runs until it is asked to stop', async () => {
    await fs.writeFile(inWork('kit'), 'KIT');
    const argv = ['up', '--store', 'a', '/b', '--recover', 'kit', '--threads', '3', '--data', 'd'];
    const { code, out, seen, options } = await up(argv, (world) => world.end());
    expect(code).toBe(0);
    expect(out).toMatch(/^welcome\n/);
    expect(seen).toEqual(['dispose']);
    expect(options).toEqual({
      dataPath: inWork('d'),
      recoverKitText: 'KIT',
      storePaths: [inWork('a'), '/b'],
      config: { labels: {} },
      threadCount: 3,
    });
  });

  it('stops at a signal, takes no notice of its echo, and dies of a later one', async () => {
    const { seen } = await up(['up'], (world) => {
      world.signal('SIGINT');
      world.nowMs = 400;
      world.signal('SIGINT');
      setImmediate(() => {
        expect(world.seen).toEqual(['stop']);
        world.nowMs = 600;
        world.signal('SIGTERM');
      });
    });
    expect(seen).toEqual(['stop', 'SIGTERM', 'dispose']);
  });
});

describe('use', () => {
  it.each([
    [[], /name a command/],
    [['nothing'], /unknown command 'nothing'/],
    [['putt'], /^holdfast: unknown command 'putt' \(Did you mean put\?\)$/m],
    [['put'], /^holdfast: name a file\n$/],
    [['put', 'a', 'b'], /too many arguments/],
    [['get', 'x', '--nothing'], /unknown option '--nothing'/],
    [['scheme', 'show', 'rs-9'], /is no scheme/],
    [['scheme', 'show', '-k', '3'], /give -k and -n/],
    [['scheme', 'show', 'rs-4+2', '--size', 'much'], /"much" is no size/],
    [['dev', 'add', 'x', '--capacity', '-1'], /"-1" is no size/],
    [['up', '--threads', '0'], /no whole number from 1/],
  ])('%j is refused with one line and exit code 2', async (argv, message) => {
    const { code, out, error } = await holdfast(argv);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(error).toMatch(message);
    expect(error.split('\n').filter((line) => line.startsWith('holdfast: '))).toHaveLength(1);
  });

  it('has errors for programs', async () => {
    const { code, out, error } = await holdfast(['--json', 'query', 'none']);
    expect({ code, out }).toEqual({ code: 3, out: '' });
    expect(JSON.parse(error)).toEqual({
      error: { code: 'HF_NOT_FOUND', message: 'there is no object with the key none' },
    });
  });

  it('finds the data directory before and after the verb, and in the environment', async () => {
    for (const argv of [
      ['--data', '../none', 'status'],
      ['status', '--data', '../none'],
    ]) {
      expect((await holdfast(argv)).error).toContain(`no node is running on ${folder}/none;`);
    }
    const io = { variables: {}, homePath: path.join(folder, 'home') };
    expect((await holdfast(['status'], { io })).error).toContain(`${folder}/home/.holdfast;`);
  });

  it('has help, a version, limits and the calculator without a node', async () => {
    expect(await run('--help')).toContain('Exit codes:');
    expect(await run('help', 'put')).toContain('Examples:\n  id=$(holdfast put report.pdf)');
    expect(await run('--version')).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(await run('limits')).toMatch(/^stripeBytesMax +: 10485760$/m);
    expect(await run('scheme', 'show', '-k', '3', '-n', '4', '--size', '60MB')).toBe(
      [
        'scheme      : ida-3of4',
        'shards      : 4, any 3 of them restore',
        'may be lost : 1 (25 % of the shards)',
        'overhead    : 33 %',
        'content     : 60 MB',
        'per shard   : 20 MB',
        'total       : 80 MB',
        '',
      ].join('\n'),
    );
  });

  it('has a reference page with every command and an example for each', () => {
    const page = cliReference();
    const verbs = commandTree().commands.map((command) => command.name());
    for (const verb of verbs) expect(page).toMatch(new RegExp(`^## holdfast ${verb}`, 'm'));
    const sections = page.split('\n## ').slice(1);
    for (const section of sections) expect(section).toContain('Examples:\n');
  });
});
