/**
 * Aim: what the verbs about many nodes, and about repair, print, ask and refuse. Method: the
 * command line in this process against the control server over parts in memory.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryParts } from '../../test/control/memory-parts.ts';
import { runCli } from '../../test/control/run-cli.ts';
import { serveAdmin } from '../admin/index.ts';
import { CONTROL_SOCKET, type NodeView } from '../api/index.ts';
import { realEnv } from '../env/index.ts';
import { parseDuration } from './durations.ts';
import type { Io } from './io.ts';

const NODE: NodeView = {
  id: '5f'.repeat(16),
  name: 'berlin-2',
  state: 'suspect',
  addresses: ['tls://10.0.0.7:7450'],
  rttMs: 1.25,
  heardMsAgo: 4200,
  labels: { rack: 'r1' },
  isHome: true,
  carriesNames: true,
  storeCount: 6,
  sizeBytes: 6 << 20,
  freeBytes: 3 << 20,
};

let folder: string;
let parts: MemoryParts;
let server: AsyncDisposable;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-cluster-cli-'));
  parts = new MemoryParts(folder);
  parts.nodes.push(NODE);
  const socketPath = path.join(folder, CONTROL_SOCKET);
  server = await serveAdmin({ parts, socketPath, env: realEnv() });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await fs.rm(folder, { recursive: true, force: true });
});

const holdfast = (argv: readonly string[], options: Parameters<typeof runCli>[2] = {}) =>
  runCli(folder, argv, options);

describe('invite', () => {
  it('prints the token alone, and what to do with it beside', async () => {
    const { code, out, error } = await holdfast(['invite', '--expires', '30m']);
    expect({ code, out }).toEqual({ code: 0, out: 'hfj1_token\n' });
    expect(error).toContain('2026-01-02T03:34:05.000Z');
    expect(error).toContain('holdfast join FILE');
    const json = JSON.parse((await holdfast(['invite', '--json'])).out) as object;
    expect(json).toMatchObject({ token: 'hfj1_token', addresses: ['tls://10.0.0.1:7450'] });
  });

  it('takes no token that works for ever', async () => {
    for (const expires of ['31d', 'soon', '0s', '1']) {
      const { code, out, error } = await holdfast(['invite', '--expires', expires]);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(error.trimEnd().split('\n')).toHaveLength(1);
    }
  });
});

describe('peers', () => {
  it('are a table, and the lines of ddfs', async () => {
    const [header, line] = (await holdfast(['peers'])).out.split('\n');
    expect(header!.split(/ {2,}/)).toEqual(
      'node,id,state,rtt,heard,stores,free,where,addresses'.split(','),
    );
    expect(line!.trim().split(/ {2,}/)).toEqual([
      'berlin-2 (home)',
      '5f5f5f5f',
      'suspect',
      '1.3 ms',
      '4 s',
      '6',
      '3 MiB',
      'rack=r1',
      'tls://10.0.0.7:7450',
    ]);
    const ddfs = await holdfast(['neigh_info']);
    expect(ddfs.out).toContain(`node : ${NODE.id}\nname : berlin-2\nstate : suspect\n`);
  });

  it('are listed by node list as well', async () => {
    expect((await holdfast(['node', 'list'])).out).toBe((await holdfast(['peers'])).out);
  });

  it('are none on a node that is alone', async () => {
    parts.nodes.length = 0;
    expect((await holdfast(['peers'])).out).toContain('alone');
    expect((await holdfast(['peers', '--json'])).out).toBe('[]\n');
  });

  it('that are away are a warning of status and health, with what that means', async () => {
    const status = await holdfast(['status']);
    expect(status.out).toContain('berlin-2 (home)');
    expect(status.out).toMatch(/warning: node berlin-2 \(5f5f5f5f\) is suspect: it carries/);
    const { out } = await holdfast(['health']);
    expect(out).toMatch(/nodes +: 0 of 1 alive; home: berlin-2/);
    expect(out).toMatch(/note: node berlin-2/);
  });
});

describe('going', () => {
  it('a node is removed by name, one that is not known is not', async () => {
    const removed = await holdfast(['node', 'remove', 'berlin-2']);
    expect(removed).toMatchObject({ code: 0, error: '' });
    expect(removed.out).toContain('removed berlin-2 (5f5f5f5f)');
    expect((await holdfast(['node', 'remove', 'x'])).code).toBe(3);
  });

  it('leaving says what was moved, and stops the node', async () => {
    const { code, out } = await holdfast(['leave']);
    expect(code).toBe(0);
    expect(out).toContain('moved 2 chunks, 8 KiB');
    await parts.stopAsked.promise;
  });
});

describe('join', () => {
  /** What the node is asked, up to where it would run. */
  async function join(argv: readonly string[], stdin = ' hfj1_x\n'): Promise<unknown[]> {
    const asked: unknown[] = [];
    const loadNode: Io['loadNode'] = async () => ({
      readKnownStores: async () => undefined,
      joinNode: async (options) => void asked.push(options),
      openNode: async (options) => {
        asked.push(options);
        return {
          isFirstRun: false,
          welcome: [],
          stopped: Promise.resolve(),
          stop: () => {},
          [Symbol.asyncDispose]: async () => {},
        };
      },
    });
    const answer = await holdfast(['join', ...argv], { stdin, io: { loadNode } });
    expect(answer.code).toBe(0);
    return asked;
  }

  it('reads the token from a file or standard input, and what is said of the place', async () => {
    await fs.writeFile(path.join(folder, 'token'), 'hfj1_file\n');
    const flags = ['--rack', 'r2', '--listen', 'tls://0.0.0.0:1', 'wss://0.0.0.0:2', '--no-beacon'];
    const config = {
      listen: ['tls://0.0.0.0:1', 'wss://0.0.0.0:2'],
      labels: { rack: 'r2' },
      beacon: false,
    };
    const asked = await join([
      'token',
      ...flags,
      '--away-grace',
      '1h',
      '--no-disks',
      '--no-metadata',
    ]);
    const grace = { ...config, awayGraceMs: 3_600_000, disks: false, metadata: false };
    expect(asked[0]).toEqual({ dataPath: folder, token: 'hfj1_file\n', config: grace });
    expect(asked[1]).toMatchObject({ dataPath: folder, config: grace });
    expect(await join([])).toMatchObject([{ token: ' hfj1_x\n' }, {}]);
    expect(await join(['--metadata'])).toMatchObject([{}, { config: { metadata: true } }]);
  });

  it('says which file is not there, and shows no token that stands in its place', async () => {
    const { code, error } = await holdfast(['join', 'nosuch']);
    expect(code).toBe(3);
    expect(error).toBe(
      'holdfast: there is no file "nosuch"; name the file with what invite printed\n',
    );
    const token = `hfj1_${'x'.repeat(200)}`;
    expect((await holdfast(['join', token])).error).not.toContain('x'.repeat(100));
  });

  it('without a token or with half an address is refused with one line', async () => {
    const cases: readonly (readonly string[])[] = [
      [],
      ['--listen', '10.0.0.1:7450'],
      ['--stores', 'x'],
    ];
    for (const argv of cases) {
      const { code, out, error } = await holdfast(['join', ...argv]);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(error.trimEnd().split('\n')).toHaveLength(1);
    }
  });
});

describe('volume grant', () => {
  it('grants one volume, or all that there are', async () => {
    const granted: unknown[] = [];
    parts.peers.grant = async (volume, node) => {
      granted.push([volume, node]);
      return { volume, holders: [NODE.id, 'a'.repeat(32)] };
    };
    const one = await holdfast(['volume', 'grant', 'default', 'berlin-2']);
    expect(one).toMatchObject({ code: 0, out: 'volume default is granted to 2 nodes\n' });
    await holdfast(['volume', 'create', 'photos']);
    const all = await holdfast(['volume', 'grant', '--all', 'berlin-2']);
    expect(all.out).toBe(
      'volume default is granted to 2 nodes\nvolume photos is granted to 2 nodes\n',
    );
    const pairs = [['default'], ['default'], ['photos']].map(([name]) => [name, 'berlin-2']);
    expect(granted).toEqual(pairs);
    for (const argv of [['berlin-2'], ['--all', 'default', 'berlin-2']]) {
      expect((await holdfast(['volume', 'grant', ...argv])).code).toBe(2);
    }
  });
});

describe('what takes long', () => {
  /** Where any time has passed at once. */
  const io = { clock: { ...realEnv().clock, sleep: async () => {} } };

  it('is not left without a word, but for programs', async () => {
    parts.peers.leave = async () => {
      await realEnv().clock.sleep(5);
      return { movedChunks: 0, movedBytes: 0 };
    };
    const slow = await holdfast(['leave'], { io });
    expect(slow.error).toBe('holdfast: what this node holds is moved to the others …\n');
    expect((await holdfast(['leave', '--json'], { io })).error).toBe('');
    expect((await holdfast(['leave'])).error).toBe('');
  });
});

describe('up --recover --detach', () => {
  it('hands the kit and all else to the node in the background', async () => {
    await fs.writeFile(path.join(folder, 'kit.txt'), 'kit');
    const asked: unknown[] = [];
    const startDetached: Io['startDetached'] = async (flags) => {
      asked.push(...flags);
      return { processId: process.pid, ended: new Promise(() => {}) };
    };
    const flags = ['--accept-loss', '--store', 's', '--detach'];
    const up = await holdfast(['up', '--recover', 'kit.txt', ...flags], { io: { startDetached } });
    expect(up).toMatchObject({ code: 0, error: '' });
    expect(up.out).toContain('note: what a recovery did not bring back\n');
    const kit = ['--recover', path.join(folder, 'kit.txt'), '--accept-loss'];
    expect(asked.slice(4)).toEqual([...kit, '--store', path.join(folder, 's')]);
    expect((await holdfast(['up', '--recover', '-', '--detach'])).code).toBe(2);
    // What is not there is found here, where it is seen.
    expect((await holdfast(['up', '--recover', 'none', '--detach'])).code).toBe(3);
  });
});

it('times are read with their unit', () => {
  expect(['30s', '10m', '1.5h', '7d'].map(parseDuration)).toEqual([
    30_000, 600_000, 5_400_000, 604_800_000,
  ]);
});

describe('what goes on', () => {
  it('repair keeps to the rate that is given', async () => {
    await holdfast(['repair']);
    expect(parts.repairRate).toBeUndefined();
    await holdfast(['repair', '--rate', '50M']);
    expect(parts.repairRate).toBe(50 * 2 ** 20);
    for (const rate of ['0', 'fast']) {
      expect((await holdfast(['repair', '--rate', rate])).code).toBe(2);
    }
  });

  it('status and health say what repair does', async () => {
    const work = { doneBytes: 2 ** 20, totalBytes: 2 ** 21, bytesPerSecond: 2 ** 20 };
    const counts = { doneCount: 1, totalCount: 2, stripesAtRisk: 1, bytesAtRisk: 4096 };
    parts.repairState = { ...parts.repairState, activity: 'repair', ...work, ...counts };
    for (const verb of ['status', 'health']) {
      expect((await holdfast([verb])).out).toMatch(/^repair +: making shards again: 1 of 2 /m);
      expect((await holdfast([verb])).out).toMatch(/^at risk +: 4 KiB in 1 stripe lacking/m);
    }
    expect(JSON.parse((await holdfast(['status', '--json'])).out)).toMatchObject({
      repair: { activity: 'repair', leftMs: null, ...work, ...counts },
    });
  });

  it('prints what it has counted', async () => {
    expect((await holdfast(['metrics'])).out).toBe('net_links 2\nnet_refused{why="expired"} 3\n');
    const counted = JSON.parse((await holdfast(['metrics', '--json'])).out) as object;
    expect(counted).toEqual({ 'net_refused{why="expired"}': 3, net_links: 2 });
  });
});

describe('disks', () => {
  beforeEach(() => {
    const about = { nodeId: NODE.id, node: NODE.name };
    const store = { ...about, storeId: '3f'.repeat(16), uuid: null, label: null, device: null };
    parts.diskViews.push({ ...store, path: '/srv/holdfast' });
    const disk = { ...about, storeId: null, uuid: '12-AB', label: 'BOOKS', device: '/dev/sdb1' };
    parts.diskViews.push({ ...disk, path: '/media/books' });
    parts.diskViews.push({ ...disk, label: null, path: null });
  });

  it('are listed with their nodes, or those of this machine alone', async () => {
    const { code, out } = await holdfast(['disks', 'list']);
    const rows = out.split('\n').map((line) => line.split(/ {2,}/));
    expect(code).toBe(0);
    expect(rows).toEqual([
      ['node', 'kind', 'label', 'id', 'device', 'path'],
      ['berlin-2', 'store', '-', '3f'.repeat(16), '-', '/srv/holdfast'],
      ['berlin-2', 'disk', 'BOOKS', '12-AB', '/dev/sdb1', '/media/books'],
      ['berlin-2', 'disk', '-', '12-AB', '/dev/sdb1', '(not mounted)'],
      [''],
    ]);
    const here = await holdfast(['disks', 'localhost', '--json']);
    expect(JSON.parse(here.out)).toEqual(parts.diskViews.slice(0, 1));
  });

  it('are found by name; what is not there is exit code 3', async () => {
    const { out } = await holdfast(['disks', 'where', 'BOOKS']);
    expect(out).toBe('berlin-2 (5f5f5f5f): /media/books (disk BOOKS, /dev/sdb1, uuid 12-AB)\n');
    expect((await holdfast(['disks', 'where', 'nosuch'])).code).toBe(3);
  });
});
