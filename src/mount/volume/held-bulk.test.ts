/**
 * Aim: a tree that is unpacked over a slow way, whose answers get lost, is there with all that was
 * said, while another node walks it. Method: many programs at once on one node, in virtual time.
 */
import { afterEach, expect, it } from 'vitest';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { patient } from '../../../test/suites/held-bed.ts';
import { errorCode, HoldfastError, utf8 } from '../../base/index.ts';
import { type Caller, VolumeFileSystem } from '../index.ts';

const ROOT = 1;
const caller: Caller = { uid: 0, gid: 0, processId: 3, signal: new AbortController().signal };
const SEEDS = Number(process.env['HELD_SEEDS'] ?? 4);
const FIRST = Number(process.env['HELD_FIRST'] ?? 1);

let bed: FilesBed;

afterEach(async () => await bed[Symbol.asyncDispose]());

it.each(Array.from({ length: SEEDS }, (_, i) => FIRST + i))(
  'W6 unpacks, seed %i',
  async (seed) => {
    bed = await FilesBed.open();
    const { clock, random } = bed.bed.env;
    for (let i = 0; i < seed; i++) random.below(2);
    const { handles, tree, namespace } = bed.cell;
    const slowMs = [20, 200, 400][seed % 3]!;
    let asked = 0;
    let isLost = false; // who was too slow loses what was not brought
    const runBatch: typeof tree.runBatch = async (batch) => {
      const isFirst = batch.sequence > asked; // what was done is answered
      asked = batch.sequence;
      await clock.sleep(random.below(slowMs));
      if (random.below(5) === 0) throw new HoldfastError('HF_UNKNOWN_OUTCOME');
      if (isFirst && batch.steps.length > 3 && random.below(9) === 0)
        throw new HoldfastError('HF_TOO_LARGE');
      const answer = await patient(tree).runBatch(batch);
      isLost ||= answer.state === 'fenced';
      await clock.sleep(random.below(slowMs));
      if (random.below(5) === 0) throw new HoldfastError('HF_UNKNOWN_OUTCOME');
      return answer;
    };
    const doors = { handles: patient(handles), namespace: patient(namespace) };
    const a = await VolumeFileSystem.open(
      await bed.mountable({ ...doors, tree: { ...patient(tree), runBatch } }),
    );
    const b = await VolumeFileSystem.open(await bed.mountable({ ...doors, tree: patient(tree) }));
    const wanted = new Map<string, string>();
    async function put(parent: number, path: string): Promise<void> {
      const name = utf8(path.split('/').at(-1)!);
      const text = path.repeat([1, 20, 1000][random.below(12) === 0 ? 2 : random.below(2)]!);
      const made = await a.create(caller, parent, { name, mode: 0o644, flags: 0o1002 });
      const { inode, file } = made;
      const about = { isFromCache: false, killsPrivileges: false };
      await a.write(caller, inode, { ...about, file, offset: 0, data: utf8(text) });
      await a.flush(caller, inode, { file, owner: 0n });
      await a.release(caller, inode, { file, flockOwner: undefined });
      const modified = { seconds: 0, nanoseconds: 7 };
      await a.setAttributes(caller, inode, { modified, mode: 0o600, killsPrivileges: false });
      wanted.set(path, text);
    }
    async function unpack(parent: number, path: string, depth: number): Promise<void> {
      for (let i = 0; i < 8; i++) await put(parent, `${path}/f${i}`);
      if (random.below(4) === 0) {
        const [from, to] = [utf8('f0'), utf8('moved')];
        const rename = { name: from, newParent: parent, newName: to, flag: undefined };
        await a.rename(caller, parent, rename);
        wanted.set(`${path}/moved`, wanted.get(`${path}/f0`)!);
        wanted.delete(`${path}/f0`);
      }
      if (depth === 0) return;
      for (let i = 0; i < 3; i++) {
        const name = utf8(`d${i}`);
        const { inode } = await a.makeDirectory(caller, parent, { name, mode: 0o755 });
        await unpack(inode, `${path}/d${i}`, depth - 1);
      }
    }
    let isOver = false;
    const walking = (async () => {
      while (!isOver) {
        await clock.sleep(random.below(20_000));
        const path = [...wanted.keys()][random.below(wanted.size)];
        if (path) await read(path, false);
      }
    })();
    async function read(path: string, isSure: boolean): Promise<void> {
      let number = ROOT;
      let mode = 0;
      for (const name of path.split('/')) {
        const entry = await b.lookup(caller, number, utf8(name));
        if (entry.inode === undefined) {
          if (isSure && !isLost) throw new Error(`seed ${seed}: there is no ${path}`);
          return;
        }
        number = entry.inode;
        mode = entry.attributes.mode & 0o777;
      }
      const { file } = await b.open(caller, number, { flags: 0, killsPrivileges: false });
      const bytes = await b.read(caller, number, { file, offset: 0, lengthBytes: 1e6 });
      await b.release(caller, number, { file, flockOwner: undefined });
      const text = wanted.get(path);
      if (text === undefined || isLost) return; // moved meanwhile
      expect(Buffer.from(bytes).toString() === text, `seed ${seed} content of ${path}`).toBe(true);
      expect(mode, path).toBe(0o600);
    }
    const tops = ['t0', 't1', 't2', 't3', 't4', 't5'].map(async (name) => {
      const { inode } = await a.makeDirectory(caller, ROOT, { name: utf8(name), mode: 0o755 });
      await unpack(inode, name, 2);
    });
    const ended = await Promise.allSettled(tops);
    isOver = true;
    const walked = await walking.then(
      () => undefined,
      (error: unknown) => error,
    );
    for (const end of ended) if (end.status === 'rejected') throw end.reason;
    if (walked !== undefined) throw walked;
    expect(await a.syncAll().then(() => 'ok', errorCode)).toBe('ok');
    for (const path of wanted.keys()) await read(path, true);
    await a[Symbol.asyncDispose]();
    await b[Symbol.asyncDispose]();
  },
  60_000,
);
