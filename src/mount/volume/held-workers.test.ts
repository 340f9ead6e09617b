/**
 * Aim: whatever was done and closed on one node is seen by whoever looks on another one, with its
 * content, mode, links, times and extended attributes, while many work in the same directories and
 * answers are lost. Method: workers with names of their own over file systems of three nodes, in
 * virtual time, each beside a model.
 */
import { afterEach, expect, it } from 'vitest';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { patient } from '../../../test/suites/held-bed.ts';
import { errorCode, HoldfastError, utf8 } from '../../base/index.ts';
import type { Clock, Random } from '../../env/index.ts';
import { ERRNO, errnoOf } from '../errno.ts';
import { type Caller, VolumeFileSystem } from '../index.ts';

const ROOT = 1;
const RDWR = 2;
const TRUNC = 0o1000;
const caller: Caller = { uid: 0, gid: 0, processId: 3, signal: new AbortController().signal };

interface ModelFile {
  content: Buffer;
  mode: number;
  links: number;
  modified: number | undefined;
  xattrs: Map<string, string>;
}

interface Options {
  readonly seed: number;
  readonly workers: number;
  readonly steps: number;
  readonly losesAnswers?: boolean;
  readonly delayMs?: number;
}

let bed: FilesBed;
let clock: Clock;
let random: Random;
let home = 0;
let stops: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const stop of stops) await stop().catch(() => undefined);
  stops = [];
  await bed[Symbol.asyncDispose]();
});

function far<Doors extends object>(doors: Doors, { losesAnswers, delayMs = 0 }: Options): Doors {
  const lose = () => {
    if (losesAnswers && random.below(4) === 0) throw new HoldfastError('HF_UNKNOWN_OUTCOME');
  };
  return Object.fromEntries(
    Object.entries(patient(doors)).map(([name, method]) => [
      name,
      async (...args: never[]) => {
        if (delayMs > 0) await clock.sleep(random.below(delayMs));
        if (name === 'runBatch') lose();
        const answer = await (method as (...all: never[]) => Promise<unknown>)(...args);
        if (delayMs > 0) await clock.sleep(random.below(delayMs));
        if (name === 'runBatch') lose();
        return answer;
      },
    ]),
  ) as Doors;
}

class Worker {
  readonly model = new Map<string, ModelFile>();
  readonly log: string[] = [];
  readonly prefix: string;
  readonly nodes: VolumeFileSystem[];
  readonly places: string[];
  fs!: VolumeFileSystem;
  node = 0;
  isSteady = false;
  isFirst = false;
  stepCount = 0;

  constructor(prefix: string, nodes: VolumeFileSystem[]) {
    this.prefix = prefix;
    this.nodes = nodes;
    this.places = ['', 'd', 'e'].flatMap((directory) =>
      ['x', 'y', 'z'].map((name) => `${directory}/${prefix}${name}`),
    );
  }

  pick<T>(list: readonly T[]): T {
    return list[random.below(list.length)]!;
  }

  async parent(path: string): Promise<[number, Uint8Array]> {
    const [directory, name] = path.split('/') as [string, string];
    if (directory === '') return [ROOT, utf8(name)];
    const entry = await this.fs.lookup(caller, ROOT, utf8(directory));
    if (entry.inode === undefined) throw new Error(`no ${directory}`);
    return [entry.inode, utf8(name)];
  }

  async find(path: string) {
    const entry = await this.fs.lookup(caller, ...(await this.parent(path)));
    if (entry.inode === undefined) throw new HoldfastError('HF_NOT_FOUND', path);
    return entry;
  }

  async close(inode: number, file: number) {
    await this.fs.flush(caller, inode, { file, owner: 0n });
    await this.fs.release(caller, inode, { file, flockOwner: undefined });
  }

  bytes(): Buffer {
    const length = this.pick([0, 1, 10, 3000, 4096, 5000, 20_000]);
    return Buffer.alloc(length, 97 + random.below(26));
  }

  async step(): Promise<void> {
    this.stepCount += 1;
    if (this.isSteady) {
      // All work on one node for a while, then on another one.
      if (this.isFirst && this.stepCount % 30 === 0) {
        await clock.sleep(random.below(2) * 33_000);
        home = random.below(this.nodes.length);
      }
      this.node = home;
    } else if (random.below(6) === 0) this.node = random.below(this.nodes.length);
    this.fs = this.nodes[this.node]!;
    const path = this.pick(this.places);
    const what = this.pick([
      'put',
      'put',
      'put',
      'write',
      'truncate',
      'rename',
      'unlink',
      'link',
      'chmod',
      'utimes',
      'setXattr',
      'removeXattr',
      'look',
      'look',
      'wait',
      'sync',
      'list',
      'unlinkOpen',
      'exchange',
      'both',
    ] as const);
    const to = this.pick(this.places);
    this.log.push(`${clock.monotonic()} node ${this.node} ${what} ${path} ${to}`);
    await this.run(what, path, to);
    this.log.push(`  done ${clock.monotonic()}`);
    if (random.below(3) === 0) await this.look(this.pick([path, to]));
  }

  /** As the kernel, which walks a path anew when a name was not what it was said to be. */
  async run(what: string, path: string, to: string): Promise<void> {
    try {
      await this.runOnce(what, path, to);
    } catch (error) {
      if (!isStale(error)) throw error;
      await this.runOnce(what, path, to);
    }
  }

  async runOnce(what: string, path: string, to: string): Promise<void> {
    const { fs } = this;
    const file = this.model.get(path);
    if (what === 'wait') {
      await clock.sleep(
        this.pick(
          this.isSteady ? [1, 1, 5, 20, 60, 130, 600] : [1, 60, 130, 600, 4000, 6500, 33_000],
        ),
      );
      return;
    }
    if (what === 'look') return await this.look(path);
    if (what === 'put') {
      const [parent, name] = await this.parent(path);
      const flags = TRUNC | RDWR;
      // As the kernel does; `create` of what is there: see C6 in held-content.test.ts.
      const entry = await fs.lookup(caller, parent, name);
      const made =
        entry.inode === undefined
          ? await fs.create(caller, parent, { name, mode: 0o644, flags })
          : {
              inode: entry.inode,
              ...(await fs.open(caller, entry.inode, { flags, killsPrivileges: false })),
            };
      const content = this.bytes();
      await this.write(made.inode, made.file, 0, content);
      if (random.below(8) === 0) {
        await fs.sync(caller, made.inode, { file: made.file, dataOnly: false });
      }
      await this.close(made.inode, made.file);
      const modified = undefined;
      if (file) Object.assign(file, { content, modified });
      else {
        const links = 1;
        this.model.set(path, { content, mode: 0o644, links, modified, xattrs: new Map() });
      }
      return;
    }
    if (what === 'list') return await this.list(path.split('/')[0]!);
    if (!file) {
      if (!['write', 'truncate', 'chmod', 'rename', 'unlink', 'link'].includes(what)) return;
      const [parent, name] = await this.parent(path);
      const gone = async (): Promise<void> => {
        if (what === 'unlink') return await fs.unlink(caller, parent, name);
        if (!(await this.opened(path))) throw new HoldfastError('HF_NOT_FOUND', path);
      };
      const code = await gone().then(() => 'ok', codeOf);
      expect(code).toBe('HF_NOT_FOUND');
      return;
    }
    const { inode } = await this.find(path);
    if (what === 'write') {
      const { file: number } = await fs.open(caller, inode, {
        flags: RDWR,
        killsPrivileges: false,
      });
      const bytes = this.bytes();
      const offset = random.below(file.content.length + 100);
      await this.write(inode, number, offset, bytes);
      await this.close(inode, number);
      if (bytes.length === 0) return;
      const content = Buffer.alloc(Math.max(file.content.length, offset + bytes.length));
      file.content.copy(content);
      bytes.copy(content, offset);
      file.content = content;
      file.modified = undefined;
    } else if (what === 'truncate') {
      const sizeBytes = random.below(file.content.length * 2 + 1);
      await fs.setAttributes(caller, inode, { sizeBytes, killsPrivileges: false });
      const content = Buffer.alloc(sizeBytes);
      file.content.copy(content);
      file.content = content;
      file.modified = undefined;
    } else if (what === 'chmod') {
      file.mode = this.pick([0o600, 0o644, 0o755]);
      await fs.setAttributes(caller, inode, { mode: file.mode, killsPrivileges: false });
    } else if (what === 'utimes') {
      file.modified = 1 + random.below(1e6);
      const modified = { seconds: file.modified, nanoseconds: 0 };
      await fs.setAttributes(caller, inode, { modified, killsPrivileges: false });
    } else if (what === 'sync') {
      const { file: number } = await fs.open(caller, inode, {
        flags: RDWR,
        killsPrivileges: false,
      });
      await fs.sync(caller, inode, { file: number, dataOnly: false });
      await this.close(inode, number);
    } else if (what === 'setXattr') {
      const [name, value] = [this.pick(['user.a', 'user.b']), String(random.below(100))];
      await fs.setXattr(caller, inode, {
        name: utf8(name),
        value: utf8(value),
        mode: undefined,
      } as never);
      file.xattrs.set(name, value);
    } else if (what === 'removeXattr') {
      const name = this.pick(['user.a', 'user.b']);
      const code = await fs.removeXattr(caller, inode, utf8(name)).then(() => 'ok', codeOf);
      expect(code, 'removeXattr').toBe(file.xattrs.delete(name) ? 'ok' : 'HF_NO_DATA');
    } else if (what === 'both') {
      const two = ['truncate', 'write', 'chmod', 'setXattr', 'chmod', 'sync', 'put'];
      const [one, other] = [
        this.pick(two),
        this.pick(['chmod', 'setXattr', 'removeXattr', 'sync']),
      ];
      const areXattrs = one === 'setXattr' && other === 'removeXattr';
      if (one === other || areXattrs) return;
      this.log.push(`  both ${one} ${other}`);
      await Promise.all([this.run(one, path, to), this.run(other, path, to)]);
    } else if (what === 'unlink') {
      await fs.unlink(caller, ...(await this.parent(path)));
      this.model.delete(path);
      file.links -= 1;
    } else if (what === 'unlinkOpen') {
      const { file: number } = await fs.open(caller, inode, {
        flags: RDWR,
        killsPrivileges: false,
      });
      await fs.unlink(caller, ...(await this.parent(path)));
      this.model.delete(path);
      file.links -= 1;
      await this.run('wait', path, to);
      const bytes = Buffer.from('tail');
      await this.write(inode, number, file.content.length, bytes);
      const all = await fs.read(caller, inode, { file: number, offset: 0, lengthBytes: 1e6 });
      const wanted = Buffer.concat([file.content, bytes]);
      expect(Buffer.from(all).equals(wanted), 'content of an open file without a name').toBe(true);
      await this.close(inode, number);
      file.content = wanted;
      file.modified = undefined;
    } else if (what === 'link') {
      const [newParent, newName] = await this.parent(to);
      const code = await fs
        .link(caller, inode, { parent: newParent, name: newName })
        .then(() => 'ok', codeOf);
      expect(code, 'link').toBe(this.model.has(to) ? 'HF_EXISTS' : 'ok');
      if (code !== 'ok') return;
      file.links += 1;
      this.model.set(to, file);
    } else if (what === 'rename' || what === 'exchange') {
      const [parent, name] = await this.parent(path);
      const [newParent, newName] = await this.parent(to);
      const flag = what === 'exchange' ? ('exchange' as const) : undefined;
      const code = await fs
        .rename(caller, parent, { name, newParent, newName, flag })
        .then(() => 'ok', codeOf);
      const other = this.model.get(to);
      if (flag && !other) {
        expect(code).toBe('HF_NOT_FOUND');
        return;
      }
      expect(code, what).toBe('ok');
      if (other === file) return;
      this.model.set(to, file);
      if (flag) this.model.set(path, other!);
      else {
        this.model.delete(path);
        if (other) other.links -= 1;
      }
    }
  }

  async write(inode: number, file: number, offset: number, data: Buffer) {
    if (data.length === 0) return;
    const about = { isFromCache: false, killsPrivileges: false };
    await this.fs.write(caller, inode, { ...about, file, offset, data });
  }

  async list(directory: string): Promise<void> {
    const number = directory === '' ? ROOT : (await this.find(`/${directory}`)).inode;
    const { file } = await this.fs.openDirectory(caller, number);
    const found: string[] = [];
    for (let cookie = 0; ;) {
      const page = await this.fs.list(caller, number, { file, cookie, withEntries: false });
      found.push(...page.map(({ name }) => Buffer.from(name).toString()));
      if (page.length === 0) break;
      cookie = page.at(-1)!.cookie;
    }
    this.fs.releaseDirectory(caller, number, file);
    const own = found.filter((name) => name.startsWith(this.prefix)).toSorted();
    const wanted = [...this.model.keys()]
      .filter((path) => path.startsWith(`${directory}/`))
      .map((path) => path.split('/')[1]!);
    expect(own, 'listing').toEqual(wanted.toSorted());
  }

  async opened(path: string): Promise<{ inode: number; file: number } | undefined> {
    const entry = await this.fs.lookup(caller, ...(await this.parent(path)));
    if (entry.inode === undefined) return undefined;
    const { inode } = entry;
    return { inode, ...(await this.fs.open(caller, inode, { flags: 0, killsPrivileges: false })) };
  }

  async look(path: string): Promise<void> {
    if (random.below(this.isSteady ? 60 : 2) === 0) {
      this.node = random.below(this.nodes.length);
      this.fs = this.nodes[this.node]!;
    }
    const { fs } = this;
    this.log.push(`  ${clock.monotonic()} look at ${path} on ${this.node}`);
    const file = this.model.get(path);
    const opened = await this.opened(path).catch((error: unknown) => {
      if (isStale(error)) return this.opened(path);
      throw error;
    });
    expect(opened !== undefined, `${path} is there`).toBe(file !== undefined);
    if (!file || !opened) return;
    const { inode, file: number } = opened;
    const { attributes } = await fs.getAttributes(caller, inode);
    const { linkCount, mode, sizeBytes, modified } = attributes;
    const shown = { linkCount, mode: mode & 0o777, sizeBytes };
    expect(shown, `attributes of ${path} ${sizeBytes} not ${file.content.length}`).toEqual({
      linkCount: file.links,
      mode: file.mode,
      sizeBytes: file.content.length,
    });
    if (file.modified !== undefined) expect(modified.seconds, 'time').toBe(file.modified);
    const read = { file: number, offset: 0, lengthBytes: 1e6 };
    const bytes = Buffer.from(await fs.read(caller, inode, read));
    await this.close(inode, number);
    expect(bytes.length, `length of ${path}`).toBe(file.content.length);
    expect(bytes.equals(file.content), `content of ${path}`).toBe(true);
    for (const name of ['user.a', 'user.b']) {
      const value = await fs
        .getXattr(caller, inode, utf8(name))
        .then((found) => Buffer.from(found).toString(), errorCode);
      expect(value, `xattr ${name} of ${path}`).toBe(file.xattrs.get(name) ?? 'HF_NO_DATA');
    }
  }
}

function isStale(error: unknown): boolean {
  return errnoOf(error) === ERRNO.ESTALE;
}

function codeOf(error: unknown): string | undefined {
  if (isStale(error)) throw error;
  return errorCode(error);
}

async function work(options: Options): Promise<void> {
  bed = await FilesBed.open();
  ({ clock, random } = bed.bed.env);
  for (let i = 0; i < options.seed; i++) random.below(2);
  const { handles, tree, namespace } = bed.cell;
  const nodes: VolumeFileSystem[] = [];
  for (let i = 0; i < 3; i++) {
    const volume = await bed.mountable({
      handles: far(handles, options),
      tree: far(tree, options),
      namespace: far(namespace, options),
    });
    const fs = await VolumeFileSystem.open(volume);
    nodes.push(fs);
    stops.push(() => fs[Symbol.asyncDispose]());
  }
  for (const name of ['d', 'e']) {
    await nodes[0]!.makeDirectory(caller, ROOT, { name: utf8(name), mode: 0o755 });
  }
  const workers = Array.from({ length: options.workers }, (_, i) => new Worker(`w${i}`, nodes));
  workers[0]!.isFirst = true;
  for (const worker of workers) worker.isSteady = options.seed % 4 > 0;
  const ended = await Promise.allSettled(
    workers.map(async (worker) => {
      try {
        for (let i = 0; i < options.steps; i++) await worker.step();
        for (const path of worker.places) await worker.look(path);
      } catch (error) {
        const told = worker.log.slice(-24).join('\n');
        throw new Error(
          `seed ${options.seed}, ${worker.prefix}:\n${told}\n${(error as Error).stack}`,
        );
      }
    }),
  );
  for (const end of ended) if (end.status === 'rejected') throw end.reason;
}

const SEEDS = Number(process.env['HELD_SEEDS'] ?? 5);
const FIRST = Number(process.env['HELD_FIRST'] ?? 1);

for (const [name, parts] of [
  ['W1 one worker', { workers: 1, steps: 300 }],
  ['W2 many workers', { workers: 4, steps: 150, delayMs: 4 }],
  ['W3 many workers, lost answers', { workers: 4, steps: 150, delayMs: 12, losesAnswers: true }],
] as const) {
  it.each(Array.from({ length: SEEDS }, (_, i) => FIRST + i))(
    `${name}, seed %i`,
    async (seed) => {
      await work({ seed, ...parts });
    },
    20_000,
  );
}
