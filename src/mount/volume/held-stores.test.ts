/**
 * Aim: what was closed without an error while stores were away is there for everybody when they are
 * back, also where directories went to other nodes meanwhile. Method: nodes that put, rename over
 * and remove files of their own, in virtual time.
 */
import { afterEach, it } from 'vitest';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { patient } from '../../../test/suites/held-bed.ts';
import { errorCode, HoldfastError, utf8 } from '../../base/index.ts';
import { type Caller, VolumeFileSystem } from '../index.ts';

const ROOT = 1;
const caller: Caller = { uid: 0, gid: 0, processId: 3, signal: new AbortController().signal };

let bed: FilesBed;

afterEach(async () => await bed[Symbol.asyncDispose]());

const SEEDS = Number(process.env['HELD_SEEDS'] ?? 5);
const FIRST = Number(process.env['HELD_FIRST'] ?? 1);

it.each(Array.from({ length: SEEDS }, (_, i) => FIRST + i))(
  'W5 stores away, seed %i',
  async (seed) => {
    bed = await FilesBed.open();
    const { clock, random } = bed.bed.env;
    for (let i = 0; i < seed; i++) random.below(2);
    const { handles, tree, namespace } = bed.cell;
    const doors = {
      handles: patient(handles),
      tree: patient(tree),
      namespace: patient(namespace),
    };
    const nodes: VolumeFileSystem[] = [];
    for (let i = 0; i < 2; i++) nodes.push(await VolumeFileSystem.open(await bed.mountable(doors)));
    const log: string[] = [];
    const model = new Map<string, string | undefined>();
    let isOver = false;
    const failing = (async () => {
      while (!isOver) {
        await clock.sleep(random.below(3000));
        bed.putError = new HoldfastError(random.below(2) ? 'HF_TOO_FEW_STORES' : 'HF_NO_SPACE');
        log.push(`${clock.monotonic()} away ${bed.putError.code}`);
        await clock.sleep(random.below(6000));
        bed.putError = undefined;
        log.push(`${clock.monotonic()} back`);
      }
    })();
    const workers = Array.from({ length: 4 }, async (_, w) => {
      const fs = nodes[w % 2]!;
      const run = async (what: string, name: string, other: string): Promise<void> => {
        if (what === 'unlink') return await fs.unlink(caller, ROOT, utf8(name));
        if (what === 'rename') {
          const to = { newParent: ROOT, newName: utf8(other), flag: undefined };
          return await fs.rename(caller, ROOT, { name: utf8(name), ...to });
        }
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
          await fs.write(caller, inode, { ...about, file, offset: 0, data: utf8(what) });
          await fs.flush(caller, inode, { file, owner: 0n });
        } finally {
          await fs.release(caller, inode, { file, flockOwner: undefined });
        }
      };
      for (let step = 0; step < 60; step++) {
        const name = `w${w}-${random.below(4)}`;
        const other = `w${w}-${random.below(4)}`;
        const text = `${step} `.repeat([1, 3000][random.below(2)]!);
        const what = [text, text, text, 'unlink', 'rename'][random.below(5)]!;
        const code = await run(what, name, other).then(() => 'ok', errorCode);
        log.push(
          `${clock.monotonic()} ${w} ${what.slice(0, 6)} ${what.length} ${name} ${other} ${code}`,
        );
        if (what === 'unlink') {
          if (code === 'ok' || code === 'HF_NOT_FOUND') model.set(name, 'gone');
          else model.delete(name);
        } else if (what === 'rename') {
          if (code !== 'ok' && code !== 'HF_NOT_FOUND') continue;
          if (code === 'HF_NOT_FOUND' || name === other) continue;
          const moved = model.get(name);
          if (moved === undefined) model.delete(other);
          else model.set(other, moved);
          model.set(name, 'gone');
        } else if (code === 'ok') model.set(name, text);
        else model.delete(name);
        await clock.sleep([0, 0, 1, 50, 300, 1000][random.below(6)]!);
        if (random.below(25) === 0) {
          await nodes[1 - (w % 2)]!.lookup(caller, ROOT, utf8(name)).catch(() => undefined);
        }
      }
    });
    const ended = await Promise.allSettled(workers);
    isOver = true;
    await failing;
    for (const end of ended) if (end.status === 'rejected') throw end.reason;
    await clock.sleep(20_000);
    for (const [name, wanted] of model) {
      for (const fs of nodes) {
        const entry = await fs.lookup(caller, ROOT, utf8(name));
        let found = 'gone';
        if (entry.inode !== undefined) {
          const opened = await fs.open(caller, entry.inode, { flags: 0, killsPrivileges: false });
          const read = { file: opened.file, offset: 0, lengthBytes: 1e6 };
          found = Buffer.from(await fs.read(caller, entry.inode, read)).toString();
          await fs.release(caller, entry.inode, { file: opened.file, flockOwner: undefined });
        }
        const told = log.filter((line) => line.includes(name) || / (away|back)/.test(line));
        const shown = (text = ''): string => `${text.slice(0, 9)} ${text.length}`;
        const about = `${name} ${shown(found)}, not ${shown(wanted)}`;
        if (found !== wanted)
          throw new Error(`seed ${seed} ${about}\n${told.slice(-25).join('\n')}`);
      }
    }
    for (const fs of nodes) await fs[Symbol.asyncDispose]();
  },
  30_000,
);
