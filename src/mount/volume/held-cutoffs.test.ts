/**
 * Aim: what was synced and closed without an error is there for other nodes, whichever nodes are
 * cut off for however long, and what follows an error works. Method: nodes that put and sync files
 * of their own in shared directories, in virtual time.
 */
import { afterEach, expect, it } from 'vitest';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { patient } from '../../../test/suites/held-bed.ts';
import { errorCode, HoldfastError, utf8 } from '../../base/index.ts';
import type { Clock, Random } from '../../env/index.ts';
import { type Caller, VolumeFileSystem } from '../index.ts';

const ROOT = 1;
const caller: Caller = { uid: 0, gid: 0, processId: 3, signal: new AbortController().signal };

let bed: FilesBed;
let clock: Clock;
let random: Random;

interface Node {
  fs: VolumeFileSystem;
  isCutOff: boolean;
}

function far<Doors extends object>(doors: Doors, node: Node): Doors {
  return Object.fromEntries(
    Object.entries(patient(doors)).map(([name, method]) => [
      name,
      async (...args: never[]) => {
        const reach = async (what: string) => {
          for (let tries = 0; node.isCutOff; tries++) {
            if (tries > 20 && random.below(3) === 0) throw new HoldfastError(what as never);
            await clock.sleep(100);
          }
        };
        await reach('HF_UNAVAILABLE');
        await clock.sleep(random.below(6));
        const answer = await (method as (...all: never[]) => Promise<unknown>)(...args);
        await reach(
          name === 'runBatch' || name === 'commitExtents' ? 'HF_UNKNOWN_OUTCOME' : 'HF_UNAVAILABLE',
        );
        return answer;
      },
    ]),
  ) as Doors;
}

afterEach(async () => await bed[Symbol.asyncDispose]());

const SEEDS = Number(process.env['HELD_SEEDS'] ?? 5);
const FIRST = Number(process.env['HELD_FIRST'] ?? 1);

it.each(Array.from({ length: SEEDS }, (_, i) => FIRST + i))(
  'W4 cut-offs, seed %i',
  async (seed) => {
    bed = await FilesBed.open();
    ({ clock, random } = bed.bed.env);
    for (let i = 0; i < seed; i++) random.below(2);
    const { handles, tree, namespace } = bed.cell;
    const nodes: Node[] = [];
    for (let i = 0; i < 2; i++) {
      const node: Node = { fs: undefined as never, isCutOff: false };
      const volume = await bed.mountable({
        handles: far(handles, node),
        tree: far(tree, node),
        namespace: far(namespace, node),
      });
      node.fs = await VolumeFileSystem.open(volume);
      nodes.push(node);
    }
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on('unhandledRejection', note);
    const log: string[] = [];
    const durable = new Map<string, string>();
    async function put({ fs }: Node, name: string, text: string): Promise<void> {
      const entry = await fs.lookup(caller, ROOT, utf8(name));
      const flags = 0o1002;
      const made =
        entry.inode === undefined
          ? await fs.create(caller, ROOT, { name: utf8(name), mode: 0o644, flags })
          : {
              inode: entry.inode,
              ...(await fs.open(caller, entry.inode, { flags, killsPrivileges: false })),
            };
      const { inode, file } = made;
      try {
        const about = { isFromCache: false, killsPrivileges: false };
        await fs.write(caller, inode, { ...about, file, offset: 0, data: utf8(text) });
        await fs.sync(caller, inode, { file, dataOnly: false });
        await fs.flush(caller, inode, { file, owner: 0n });
      } finally {
        await fs.release(caller, inode, { file, flockOwner: undefined });
      }
    }
    let isOver = false;
    const cuts = (async () => {
      while (!isOver) {
        await clock.sleep(random.below(8000));
        const node = nodes[random.below(2)]!;
        node.isCutOff = true;
        const ms = [300, 3000, 7000, 20_000, 70_000][random.below(5)]!;
        log.push(`${clock.monotonic()} cut ${nodes.indexOf(node)} for ${ms}`);
        await clock.sleep(ms);
        node.isCutOff = false;
      }
    })();
    const busy = new Set<string>();
    const workers = Array.from({ length: 6 }, async (_, w) => {
      const node = nodes[w % 2]!;
      for (let step = 0; step < 40; step++) {
        const name = `w${w}-${random.below(4)}`;
        const text = `${step} `.repeat([1, 50, 4000][random.below(3)]!);
        durable.delete(name);
        busy.add(name);
        const code = await put(node, name, text).then(() => 'ok', errorCode);
        busy.delete(name);
        log.push(`${clock.monotonic()} ${w} put ${name} ${code}`);
        if (code === 'ok') durable.set(name, text);
        await clock.sleep([0, 0, 1, 50, 1000, 4000][random.below(6)]!);
        if (random.below(8) > 0) continue;
        // Another node looks.
        const [looked] = [...durable.keys()]
          .filter((each) => !busy.has(each))
          .slice(random.below(5));
        if (looked !== undefined) await look(nodes[1 - (w % 2)]!, looked);
      }
    });
    async function look({ fs }: Node, name: string): Promise<void> {
      const wanted = durable.get(name);
      let found: string | undefined;
      try {
        const entry = await fs.lookup(caller, ROOT, utf8(name));
        if (entry.inode !== undefined) {
          const opened = await fs.open(caller, entry.inode, { flags: 0, killsPrivileges: false });
          const read = { file: opened.file, offset: 0, lengthBytes: 1e6 };
          const bytes = await fs.read(caller, entry.inode, read);
          await fs.release(caller, entry.inode, { file: opened.file, flockOwner: undefined });
          found = Buffer.from(bytes).toString();
        }
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        return;
      }
      if (durable.get(name) !== wanted || busy.has(name)) return; // written meanwhile
      const told = log.filter((line) => line.includes(name) || line.includes('cut')).slice(-12);
      const isSame = found === wanted;
      if (!isSame) {
        throw new Error(
          `seed ${seed} ${clock.monotonic()} ${name}: ${found?.slice(0, 20)} (${found?.length}) ` +
            `not ${wanted?.slice(0, 20)} (${wanted?.length})\n${told.join('\n')}`,
        );
      }
    }
    const ended = await Promise.allSettled(workers);
    isOver = true;
    await cuts;
    for (const end of ended) if (end.status === 'rejected') throw end.reason;
    await clock.sleep(10_000);
    for (const [w, node] of nodes.entries()) {
      const name = `end${w}`;
      const codes: unknown[] = [];
      for (let tries = 0; tries < 3; tries++) {
        codes.push(await put(node, name, 'end').then(() => 'ok', errorCode));
        await clock.sleep(1000);
      }
      expect(codes.at(-1), `what follows works: ${codes.join()}`).toBe('ok');
      durable.set(name, 'end');
    }
    for (const name of durable.keys()) for (const node of nodes) await look(node, name);
    for (const { fs } of nodes) await fs[Symbol.asyncDispose]();
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  },
  30_000,
);
