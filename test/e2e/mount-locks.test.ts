/**
 * Aim: locks of a mounted volume hold among processes and nodes, end with who holds them, and
 * carry content with them, so that databases may be shared; access control lists are kept,
 * inherited and heeded. Method: two nodes on loopback, a mount of each through the real /dev/fuse;
 * programs (python3 for the ways to lock, sqlite3, setfacl) use them. Needs root and /dev/fuse, and
 * these programs; what is missing is skipped, loudly.
 */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { NodeView } from '../../src/api/index.ts';
import { Bed, type NodeProcess, until } from './harness.ts';

const canMount = process.getuid?.() === 0 && existsSync('/dev/fuse');
if (!canMount) console.warn('SKIPPED: tests of mounted volumes need root and /dev/fuse');

const has = (program: string): boolean => existsSync(`/usr/bin/${program}`);
const missing = ['python3', 'sqlite3', 'setfacl', 'rsync'].filter((program) => !has(program));
for (const program of missing) console.warn(`SKIPPED: tests of mounts that need ${program}`);

const LISTEN = ['--listen', 'tls://127.0.0.1:0'];
const NODES = ['a', 'b'] as const;

type NodeName = (typeof NODES)[number];

let bed: Bed;
let nodeB: NodeProcess;

const at = (node: NodeName, name: string): string => bed.path(`mnt-${node}`, name);
const run = async (program: string, ...words: string[]): Promise<string> =>
  (await promisify(execFile)(program, words)).stdout;

/** A process that locks as it is told, one line each, and answers `ok` or the name of an error. */
class Locker {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;

  constructor(path: string) {
    this.#child = spawn('python3', [new URL('locker.py', import.meta.url).pathname, path]);
    this.#answers = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async ask(command: string): Promise<string> {
    this.tell(command);
    return await this.answer();
  }

  tell(command: string): void {
    this.#child.stdin.write(`${command}\n`);
  }

  async answer(): Promise<string> {
    const { value } = await this.#answers.next();
    return value as string;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

const lockers: Locker[] = [];

function lockerOf(path: string): Locker {
  const locker = new Locker(path);
  lockers.push(locker);
  return locker;
}

describe.skipIf(!canMount)('on two nodes', () => {
  beforeAll(async () => {
    bed = await Bed.open();
    await bed.up({ data: 'a', flags: [...LISTEN, '--name', 'a'] });
    const token = await bed.ok(['invite'], { data: 'a' });
    const stores = [1, 2, 3].map((number) => bed.path('b', `disk-${number}`));
    nodeB = await bed.up({ data: 'b', flags: [...LISTEN, '--name', 'b'], stores, token });
    await until('they know each other', async () => {
      const peers = await bed.json<NodeView[]>(['peers'], { data: 'b' });
      return peers.filter(({ state }) => state === 'self' || state === 'alive').length === 2;
    });
    for (const data of NODES) {
      await fs.mkdir(at(data, ''));
      await until('it can be mounted', async () => {
        const words = ['mount', 'default', at(data, ''), '-o', 'allow_other'];
        return (await bed.run(words, { data })).exitCode === 0;
      });
    }
    await fs.chmod(at('a', ''), 0o777);
    for (const path of [bed.path('.'), ...NODES.map((node) => at(node, ''))]) {
      await fs.chmod(path, 0o755);
    }
  });

  afterEach(async () => {
    for (const locker of lockers.splice(0)) await locker.end();
  });

  afterAll(async () => {
    for (const data of NODES) await bed.run(['umount', at(data, ''), '--force'], { data });
    await bed[Symbol.asyncDispose]();
  });

  describe.skipIf(missing.includes('python3'))('locks', () => {
    it.each(['posix', 'ofd', 'flock'])('%s: one holds it, in its mode', async (kind) => {
      await fs.writeFile(at('a', `one-${kind}`), 'content');
      const [first, other, elsewhere] = [
        lockerOf(at('a', `one-${kind}`)),
        lockerOf(at('a', `one-${kind}`)),
        lockerOf(at('b', `one-${kind}`)),
      ];
      expect(await first.ask(`${kind} ex try`)).toBe('ok');
      expect(await other.ask(`${kind} ex try`)).toBe('EAGAIN');
      expect(await elsewhere.ask(`${kind} sh try`)).toBe('EAGAIN');
      expect(await first.ask(`${kind} un try`)).toBe('ok');
      expect(await other.ask(`${kind} sh try`)).toBe('ok');
      expect(await elsewhere.ask(`${kind} sh try`)).toBe('ok');
      expect(await first.ask(`${kind} ex try`)).toBe('EAGAIN');
    });

    it.each(['posix', 'ofd', 'flock'])('%s: ends with its holder', async (kind) => {
      await fs.writeFile(at('a', `dead-${kind}`), 'content');
      const [first, elsewhere] = [
        lockerOf(at('a', `dead-${kind}`)),
        lockerOf(at('b', `dead-${kind}`)),
      ];
      expect(await first.ask(`${kind} ex try`)).toBe('ok');
      elsewhere.tell(`${kind} ex wait`);
      await first.end();
      expect(await elsewhere.answer()).toBe('ok');
      expect(await elsewhere.ask('reopen')).toBe('ok');
      expect(await lockerOf(at('a', `dead-${kind}`)).ask(`${kind} ex wait`)).toBe('ok');
    });

    it.each(['posix', 'flock'])('%s: a signal ends the wait for one', async (kind) => {
      await fs.writeFile(at('a', `signal-${kind}`), 'content');
      const [first, elsewhere] = [
        lockerOf(at('a', `signal-${kind}`)),
        lockerOf(at('b', `signal-${kind}`)),
      ];
      expect(await first.ask(`${kind} ex try`)).toBe('ok');
      expect(await elsewhere.ask('alarm')).toBe('ok');
      expect(await elsewhere.ask(`${kind} ex wait`)).toBe('EINTR');
      expect(await first.ask(`${kind} un try`)).toBe('ok');
      expect(await elsewhere.ask(`${kind} ex try`)).toBe('ok');
    });

    it('of bytes meet only where they overlap, and say who holds them', async () => {
      await fs.writeFile(at('a', 'ranges'), 'content');
      const [first, other, elsewhere] = [
        lockerOf(at('a', 'ranges')),
        lockerOf(at('a', 'ranges')),
        lockerOf(at('b', 'ranges')),
      ];
      expect(await first.ask('posix ex try 0 10')).toBe('ok');
      expect(await elsewhere.ask('posix ex try 10 10')).toBe('ok');
      expect(await elsewhere.ask('posix ex try 9 1')).toBe('EAGAIN');
      expect(await other.ask('who 5 20')).toMatch(/^0 10 [1-9]/);
      expect(await elsewhere.ask('who 5 1')).toBe('0 10 0');
    });

    it('that wait for each other are told so', async () => {
      await fs.writeFile(at('a', 'circle'), 'content');
      const [first, elsewhere] = [lockerOf(at('a', 'circle')), lockerOf(at('b', 'circle'))];
      expect(await first.ask('posix ex try 0 1')).toBe('ok');
      expect(await elsewhere.ask('posix ex try 1 1')).toBe('ok');
      const waits = [
        first.ask('posix ex wait 1 1').then((answer) => ({ answer, told: first, held: 0 })),
        elsewhere.ask('posix ex wait 0 1').then((answer) => ({ answer, told: elsewhere, held: 1 })),
      ];
      const { answer, told, held } = await Promise.race(waits);
      expect(answer).toBe('EDEADLOCK'); // as Python calls EDEADLK
      expect(await told.ask(`posix un try ${held} 1`)).toBe('ok');
      expect((await waits[1 - held])!.answer).toBe('ok');
    });

    it('are lost with a node that is away for too long, and it is told', async () => {
      await fs.writeFile(at('a', 'away'), 'content');
      const [here, away] = [lockerOf(at('a', 'away')), lockerOf(at('b', 'away'))];
      expect(await away.ask('posix ex try')).toBe('ok');
      nodeB.child.kill('SIGSTOP');
      try {
        expect(await here.ask('posix ex wait')).toBe('ok');
      } finally {
        nodeB.child.kill('SIGCONT');
      }
      expect(await away.ask('write')).toBe('EIO');
      expect(await away.ask('posix sh try')).toBe('EIO');
      expect(await away.ask('reopen')).toBe('ok');
      expect(await away.ask('posix sh try')).toBe('EAGAIN');
      await here.end();
      expect(await away.ask('posix sh wait')).toBe('ok');
      expect(await away.ask('write')).toBe('ok');
    });

    it('carry content with them', async () => {
      await fs.writeFile(at('a', 'counter'), '00000000');
      const both = NODES.map((node) => lockerOf(at(node, 'counter')));
      await Promise.all(both.map(async (locker) => await locker.ask('count 25')));
      expect(await fs.readFile(at('b', 'counter'), 'utf8')).toBe('00000050');
      await Promise.all(both.map(async (locker) => await locker.end()));
    });
  });

  describe.skipIf(missing.includes('sqlite3'))('a database', () => {
    it.each([
      ['delete', 'a', 'a', 50],
      ['truncate', 'a', 'b', 50],
      ['delete', 'a', 'b', 200],
      ['wal', 'a', 'a', 200],
    ] as const)('with journal_mode=%s is shared by mounts %s and %s', async (...parts) => {
      const [mode, one, other, transactions] = parts;
      const mounts = [one, other];
      const name = `${mode}-${mounts.join('')}.db`;
      await run('sqlite3', at('a', name), `pragma journal_mode=${mode}`, 'create table t (n, k)');
      const script = [
        '.bail on',
        '.timeout 60000',
        ...Array.from({ length: transactions }, (_, number) =>
          [
            'begin immediate;',
            `insert into t select coalesce(max(n), 0) + 1, ${number} from t;`,
            'commit;',
          ].join('\n'),
        ),
      ].join('\n');
      await fs.writeFile(bed.path('work', `${name}.sql`), script);
      const read = `.read ${bed.path('work', `${name}.sql`)}`;
      await Promise.all(mounts.map(async (node) => await run('sqlite3', at(node, name), read)));
      for (const node of NODES) {
        const looks = [
          'pragma integrity_check',
          'select count(*), count(distinct n), max(n) from t',
        ];
        const all = 2 * transactions;
        expect(await run('sqlite3', at(node, name), ...looks)).toBe(`ok\n${all}|${all}|${all}\n`);
      }
    });
  });

  describe.skipIf(missing.includes('setfacl'))('access control lists', () => {
    const lists = async (path: string): Promise<string[]> =>
      (await run('getfacl', '-cpn', path)).split('\n').filter((line) => line !== '');
    const mayRead = async (path: string, uid: number): Promise<boolean> =>
      await run('setpriv', `--reuid=${uid}`, '--clear-groups', '--regid=4000', 'cat', path).then(
        () => true,
        () => false,
      );

    it('are heeded, on both nodes, and go with the mode', async () => {
      await fs.writeFile(at('a', 'list'), 'content', { mode: 0o640 });
      expect(await mayRead(at('b', 'list'), 3000)).toBe(false);
      await run('setfacl', '-m', 'u:3000:rw,g:3001:-', at('a', 'list'));
      const told = ['user::rw-', 'user:3000:rw-', 'group::r--', 'group:3001:---', 'mask::rw-'];
      expect(await lists(at('b', 'list'))).toEqual([...told, 'other::---']);
      expect((await fs.stat(at('b', 'list'))).mode & 0o777).toBe(0o660);
      expect(await mayRead(at('b', 'list'), 3000)).toBe(true);
      expect(await mayRead(at('b', 'list'), 3002)).toBe(false);
      await fs.chmod(at('b', 'list'), 0o600);
      expect((await lists(at('a', 'list'))).slice(0, 5)).toEqual([
        'user::rw-',
        expect.stringMatching(/^user:3000:rw-\s+#effective:---$/),
        expect.stringMatching(/^group::r--\s+#effective:---$/),
        'group:3001:---',
        'mask::---',
      ]);
      expect(await mayRead(at('a', 'list'), 3000)).toBe(false);
      await fs.chmod(at('b', 'list'), 0o640);
      await run('setfacl', '-b', at('a', 'list'));
      expect(await lists(at('b', 'list'))).toEqual(['user::rw-', 'group::r--', 'other::---']);
      expect((await fs.stat(at('b', 'list'))).mode & 0o777).toBe(0o640);
    });

    it('are inherited from a default list, in place of the umask', async () => {
      await fs.mkdir(at('a', 'shared'), { mode: 0o750 });
      await run('setfacl', '-d', '-m', 'u::rwx,u:3000:rwx,g::r-x,o::-', at('a', 'shared'));
      await run(
        'sh',
        '-c',
        `umask 077; cd ${at('b', 'shared')}; mkdir d; echo content > f; mkfifo p`,
      );
      const base = ['user::rw-', 'user:3000:rwx', 'group::r-x', 'mask::rw-', 'other::---'];
      const effective = (line: string): string => line.replace(/\s+#effective.*/, '');
      for (const name of ['f', 'p']) {
        expect((await lists(at('a', `shared/${name}`))).map(effective), name).toEqual(base);
      }
      const inner = (await lists(at('a', 'shared/d'))).map(effective);
      expect(inner.filter((line) => line.startsWith('default:')).length).toBe(5);
      expect(inner).toContain('default:user:3000:rwx');
      expect(inner).toContain('user:3000:rwx');
      await run('setfacl', '-k', at('a', 'shared'));
      await run('sh', '-c', `umask 027; echo content > ${at('b', 'shared/plain')}`);
      expect((await fs.stat(at('a', 'shared/plain'))).mode & 0o777).toBe(0o640);
      expect((await lists(at('a', 'shared/plain'))).length).toBe(3);
    });

    it('and other attributes are kept by cp -a and rsync -AX', async () => {
      await fs.mkdir(at('a', 'source'));
      await fs.writeFile(at('a', 'source/file'), 'content');
      await run('setfacl', '-m', 'u:3000:rw', at('a', 'source/file'));
      await run('setfacl', '-d', '-m', 'g:3001:rx', at('a', 'source'));
      for (const name of ['user.colour', 'trusted.colour', 'security.colour']) {
        await run('setfattr', '-n', name, '-v', 'green', at('a', 'source/file'));
      }
      await run('cp', '-a', at('a', 'source'), at('b', 'copied'));
      if (has('rsync')) await run('rsync', '-aAX', `${at('a', 'source')}/`, at('b', 'synced'));
      const seen = async (directory: string): Promise<string> => {
        const files = [`${directory}`, `${directory}/file`];
        const acls = await run('getfacl', '-cpn', ...files);
        return (
          acls +
          (await run('getfattr', '-dm-', '--absolute-names', files[1]!))
            .split('\n')
            .slice(1)
            .join('\n')
        );
      };
      const wanted = await seen(at('a', 'source'));
      for (const name of [
        'user.colour',
        'trusted.colour',
        'security.colour',
        'default:group:3001',
      ]) {
        expect(wanted).toContain(name);
      }
      expect(await seen(at('a', 'copied'))).toBe(wanted);
      if (has('rsync')) expect(await seen(at('a', 'synced'))).toBe(wanted);
    });
  });
});
