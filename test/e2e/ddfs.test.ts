/**
 * Aim: a disk is owned as ddfs owns it (rows D1, E2–E5, F1–F5, F10, I2): its transcript, what is
 * refused, many processes at once, and what becomes of a damaged disk. Method: real processes on a
 * loop device; skipped, loudly, where the machine has none for us.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MiB } from '../../src/base/index.ts';
import { attachLoop, describeWithLoop, type LoopDevice } from '../suites/loop-device.ts';
import { below, flipByte, seededBytes, seededRandom } from './content.ts';
import { Bed, freePort, type RunOptions } from './harness.ts';

const run = promisify(execFile);

const FIELDS = [
  'dev_name',
  'major',
  'minor',
  'sb_id',
  'size',
  'used_size',
  'free_size',
  'bsize',
  'blocks',
  'used_blocks',
  'inodes_tree_block',
  'bm_block',
  'bm_blocks',
];

const PROCESSES = 2;
const FILES_EACH = 10;

let bed: Bed;
let loop: LoopDevice;

beforeEach(async () => {
  bed = await Bed.open();
  loop = await attachLoop({ sizeBytes: 100 * MiB });
});

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
  await loop[Symbol.asyncDispose]();
});

function fieldsOf(text: string): Record<string, string> {
  const pairs = text.split('\n').map((line) => line.split(' : ') as [string, string]);
  return Object.fromEntries(pairs);
}

/** What `dev_query` prints, after a look whether it can be true. */
async function query(device = loop.path, options: RunOptions = {}) {
  const fields = fieldsOf(await bed.ok(['dev_query', '-d', device], options));
  expect(Object.keys(fields)).toEqual(FIELDS);
  const number = (name: string) => Number(fields[name]);
  const [blocks, usedBlocks] = [number('blocks'), number('used_blocks')];
  expect(number('size')).toBe(blocks * number('bsize'));
  expect(number('used_size')).toBe(usedBlocks * number('bsize'));
  expect(number('used_size') + number('free_size')).toBe(number('size'));
  for (const name of ['inodes_tree_block', 'bm_block', 'bm_blocks']) {
    expect(Number(fields[name]), name).toBeGreaterThan(0);
    expect(Number(fields[name]), name).toBeLessThan(blocks);
  }
  return { fields, usedBlocks };
}

/** Deletes give blocks back at once; what is left of their bookkeeping goes a little later. */
async function expectUsedBlocks(usedBlocks: number): Promise<void> {
  await expect.poll(async () => (await query()).usedBlocks, { timeout: 20_000 }).toBe(usedBlocks);
}

/** One line that says why, and nothing else. */
async function refused(
  args: readonly string[],
  exitCode: number,
  words: RegExp,
  options: RunOptions = {},
): Promise<void> {
  const answer = await bed.run(args, options);
  expect(answer.stderr).toMatch(words);
  expect(answer.stderr).toMatch(/^holdfast: [^\n]+\n$/);
  expect(answer.stderr).not.toMatch(/fault of Holdfast|undefined/);
  expect([answer.exitCode, answer.stdout.toString()]).toEqual([exitCode, '']);
}

async function md5(file: string): Promise<string> {
  return createHash('md5')
    .update(await fs.readFile(file))
    .digest('hex');
}

async function put(content: string): Promise<string> {
  await fs.writeFile(bed.path('work/letter'), content);
  const id = await bed.ok(['put', '-f', 'letter']);
  expect(id).toMatch(/^[0-9a-f]{32}$/);
  return id;
}

async function expectGot(id: string, content: string): Promise<void> {
  await bed.ok(['get', '-i', id, '-f', `got-${id}`]);
  expect(await fs.readFile(bed.path(`work/got-${id}`), 'utf8')).toBe(content);
  await fs.rm(bed.path(`work/got-${id}`));
}

describeWithLoop('the transcript of ddfs', () => {
  it('runs from the first start to the last get', async () => {
    const port = await freePort();
    const server = ['-s', '127.0.0.1', '-p', String(port)];
    await bed.startServer(port);
    await refused(['put', '-f', '/etc/hostname'], 6, /no stores yet/);
    await refused(['dev_add', '-d', loop.path], 8, /holds no Holdfast store/);
    await bed.ok(['dev_add', '-d', loop.path, '-f', ...server]);
    const { fields, usedBlocks } = await query();
    expect(fields).toMatchObject({ dev_name: loop.path, major: '7', size: `${100 * MiB}` });

    const id = await put('hello world');
    const found = fieldsOf(await bed.ok(['query', '-i', id, ...server]));
    expect(Object.keys(found)).toEqual(['obj_id', 'size', 'block', 'bsize', 'device', 'sb_id']);
    const { sb_id } = fields;
    expect(found).toMatchObject({
      obj_id: id,
      size: '11',
      bsize: '4096',
      device: loop.path,
      sb_id,
    });
    expect(Number(found['block'])).toBeGreaterThan(0);
    await bed.ok(['get', '-i', id, '-f', 'back', ...server]);
    expect(await md5(bed.path('work/back'))).toBe(await md5(bed.path('work/letter')));
    await refused(['get', '-i', id, '-f', 'back'], 4, /back exists/);
    await bed.ok(['delete', '-i', id, ...server]);
    await refused(['query', '-i', id], 3, /no such object/);
    await refused(['get', '-i', id, '-f', 'again'], 3, /no id, key or address/);
    await expectUsedBlocks(usedBlocks);

    const kept = await put('to be kept');
    const away = await bed.run(['dev_rem', '-d', loop.path]);
    expect([away.exitCode, away.stderr]).toEqual([0, expect.stringMatching(/1 object cannot/)]);
    expect(await bed.ok(['dev', 'list'])).toMatch(/detached/);
    await refused(['get', '-i', kept, '-f', 'gone'], 6, /./);
    await bed.ok(['dev_add', '-d', loop.path, ...server]);
    await expectGot(kept, 'to be kept');
    await expectGot(await put('afterwards'), 'afterwards');

    await bed.ok(['srv_stop', ...server]);
    await refused(['get', '-i', kept, '-f', 'stopped'], 10, /no node is running/);
    await bed.startServer(port);
    await expectGot(kept, 'to be kept');
    await bed.ok(['dev_rem', '-d', loop.path]);
    await bed.ok(['srv_stop']);
    await bed.startServer(port);
    expect(await bed.ok(['status'])).toMatch(/warning: the node waits/);
    await bed.ok(['dev_add', '-d', loop.path]);
    await expectGot(kept, 'to be kept');
    await bed.ok(['srv_stop']);
  });
});

describeWithLoop('what is refused', () => {
  it('is what somebody uses, and what is not ours', async () => {
    const port = await freePort();
    await bed.startServer(port);
    await refused(['srv_start', '-p', String(port)], 8, /in use already/);
    await refused(['srv_start', '-p', String(port)], 8, /in use by another/, { data: 'other' });
    await refused(['srv_start', '-s', '0.0.0.0'], 2, /127\.0\.0\.1 or ::1/, { data: 'third' });
    const options = { data: 'other' };
    await bed.startServer(await freePort(), options);
    await bed.ok(['dev_add', '-d', loop.path, '-f']);
    const id = await put('precious');
    for (const force of [[], ['-f']]) {
      await refused(['dev_add', '-d', loop.path, ...force], 4, /in use by this node/);
      await refused(['dev_add', '-d', loop.path, ...force], 8, /in use/, options);
      await refused(['dev', 'check', loop.path], 8, /in use/);
    }
    await bed.run(['dev_rem', '-d', loop.path]);
    await refused(['dev_add', '-d', loop.path], 8, /another cluster/, options);
    await refused(['dev_add', '-d', loop.path, '-f'], 4, /another cluster/, options);
    await refused(['dev_add', '-d', loop.path, '-f'], 4, /this cluster/);
    await bed.ok(['dev_add', '-d', loop.path]);
    await expectGot(id, 'precious');
    await bed.ok(['srv_stop']);
    await bed.ok(['srv_stop'], options);
  });

  it('is a filesystem, mounted with or without -f, else without', async () => {
    await bed.startServer(await freePort());
    await run('mkfs.ext4', ['-q', loop.path]);
    await fs.mkdir(bed.path('mnt'));
    await run('mount', [loop.path, bed.path('mnt')]);
    try {
      for (const force of [[], ['-f']]) {
        await refused(['dev_add', '-d', loop.path, ...force], 8, /is in use: mounted at /);
      }
    } finally {
      await run('umount', [bed.path('mnt')]);
    }
    await refused(['dev_add', '-d', loop.path], 8, /ext4/);
    await refused(['dev', 'add', loop.path], 8, /ext4 filesystem; --force/);
    await bed.ok(['dev_add', '-d', loop.path, '-f']);
    await expectGot(await put('its place is taken'), 'its place is taken');
    await bed.ok(['srv_stop']);
  });

  it('is a disk that has shrunk, and one whose superblocks are gone', async () => {
    await bed.startServer(await freePort());
    await bed.ok(['dev_add', '-d', loop.path, '-f']);
    const id = await put('precious');
    await bed.run(['dev_rem', '-d', loop.path]);
    await fs.copyFile(loop.file, bed.path('whole'));
    await fs.truncate(loop.file, 60 * MiB);
    await run('losetup', ['--set-capacity', loop.path]);
    await refused(['dev_add', '-d', loop.path], 7, /smaller than/);
    await fs.copyFile(bed.path('whole'), loop.file);
    await run('losetup', ['--set-capacity', loop.path]);
    for (const block of [0, 16, 2048, 2064]) await flipByte(loop.path, block * 4096 + 100);
    await refused(['dev_add', '-d', loop.path], 7, /superblock/);
    await flipByte(loop.path, 100);
    await bed.ok(['dev_add', '-d', loop.path]);
    await expectGot(id, 'precious');
    await bed.ok(['srv_stop']);
  });
});

describeWithLoop('several devices', () => {
  it('hand what is on one to the others when it goes', async () => {
    await using second = await attachLoop({ sizeBytes: 64 * MiB });
    await bed.startServer(await freePort());
    await bed.ok(['dev_add', '-d', loop.path, '-f']);
    const kept = [await put('one'), await put('two'), await put('three')];
    await bed.ok(['dev_add', '-d', second.path, '-f']);
    await bed.ok(['dev_rem', '-d', loop.path]);
    expect(await bed.devices()).toMatchObject([{ path: second.path, kind: 'raw' }]);
    for (const [index, id] of kept.entries()) await expectGot(id, ['one', 'two', 'three'][index]!);
    // It is free for anybody, and for us once more.
    expect(await bed.ok(['dev', 'check', loop.path])).toMatch(/all is whole\n*$/);
    await bed.ok(['dev_add', '-d', loop.path]);
    const states = (await bed.devices()).map(({ path, state }) => `${path} ${state}`);
    expect(states).toEqual([`${second.path} active`, `${loop.path} active`]);
    await bed.ok(['srv_stop']);
  });

  it('may be disks, images and folders, from the first start to a recovery', async () => {
    const image = bed.path('image');
    await fs.writeFile(image, '');
    await fs.truncate(image, 64 * MiB);
    const stores = [loop.path, image, bed.path('folder')];
    const node = await bed.up({ stores });
    const kinds = (await bed.devices()).map(({ kind, state }) => `${kind} ${state}`);
    expect(kinds).toEqual(['raw active', 'image active', 'directory active']);
    const id = await put('on three kinds');
    await bed.ok(['key', 'export', 'kit']);
    await node.stop();
    const again = await bed.up();
    await expectGot(id, 'on three kinds');
    await again.stop();
    await fs.rm(bed.path('data'), { recursive: true });
    // The kit knows where they are.
    const recovered = await bed.up({ recover: bed.path('work/kit') });
    await expectGot(id, 'on three kinds');
    expect(await bed.devices()).toHaveLength(3);
    await recovered.stop();
  });
});

describeWithLoop('many at once', () => {
  it(`put, get, compare and delete, ${PROCESSES} by ${FILES_EACH} files`, async () => {
    await using large = await attachLoop({ sizeBytes: 400 * MiB });
    await bed.startServer(await freePort());
    await bed.ok(['dev_add', '-d', large.path, '-f']);
    const before = await query(large.path);
    const works = Array.from({ length: PROCESSES }, (_, number) => putGetDelete(number));
    await Promise.all(works);
    expect(await bed.list()).toEqual([]);
    await expect
      .poll(async () => (await query(large.path)).usedBlocks, { timeout: 20_000 })
      .toBe(before.usedBlocks);
    await bed.ok(['srv_stop']);
  });

  /** One of them: files of 10 B to 10 MB, half of them gone again at once. */
  async function putGetDelete(number: number): Promise<void> {
    const random = seededRandom(number);
    for (let index = 0; index < FILES_EACH; index++) {
      const sizeBytes = Math.floor(10 * 10 ** (random() * 6)) + below(random, 10);
      const content = await seededBytes(`${number}/${index}`, sizeBytes);
      const name = `file-${number}-${index}`;
      await fs.writeFile(bed.path('work', name), content);
      const id = await bed.ok(['put', '-f', name]);
      await bed.ok(['get', '-i', id, '-f', `${name}.back`]);
      const back = await fs.readFile(bed.path('work', `${name}.back`));
      expect(back.equals(content), `${name}, ${sizeBytes} bytes`).toBe(true);
      await bed.ok(['delete', '-i', id]);
    }
  }
});

describeWithLoop('a damaged disk', () => {
  const contents = ['a few bytes', 'x'.repeat(100_000), 'y'.repeat(1_500_000)];
  let ids: string[];

  /** Objects on the disk, which nobody has open any more. @returns the first block of each. */
  async function filledDisk(): Promise<number[]> {
    await bed.startServer(await freePort());
    await bed.ok(['dev_add', '-d', loop.path, '-f']);
    ids = [];
    const blocks: number[] = [];
    for (const content of contents) {
      const id = await put(content);
      ids.push(id);
      blocks.push(Number(fieldsOf(await bed.ok(['query', '-i', id]))['block']));
    }
    await bed.run(['dev_rem', '-d', loop.path]);
    return blocks;
  }

  async function checked(exitCode: number, ...flags: string[]): Promise<string> {
    const answer = await bed.run(['dev', 'check', loop.path, ...flags]);
    expect([answer.exitCode, answer.stderr]).toEqual([exitCode, '']);
    return answer.stdout.toString();
  }

  it('is told exactly what it has lost, and mended where that can be', async () => {
    const [, , block] = await filledDisk();
    expect(await checked(0)).toMatch(/all is whole\n$/);
    await flipByte(loop.path, 16 * 4096 + 50);
    expect(await checked(7)).toMatch(/^mendable: superblock.*block 16 .*byte 65536.*\n.*1 finding/);
    expect(await checked(0, '--repair')).toMatch(/nothing was lost\n$/);
    expect(await checked(0)).toMatch(/all is whole\n$/);

    await flipByte(loop.path, block! * 4096 + 70_000);
    const text = await checked(7);
    expect(text).toMatch(/^lost: chunk [0-9a-f]{64}, page 1, block \d+.* at byte \d+: /m);
    const report = JSON.parse(await checked(7, '--json')) as {
      findings: { where: string; isMended: boolean; ranges: { block: number; blocks: number }[] }[];
    };
    expect(report.findings).toMatchObject([{ where: 'chunk', isMended: false }]);
    const [range] = report.findings[0]!.ranges;
    const damaged = block! + Math.floor(70_000 / 4096);
    expect(range!.block).toBeLessThanOrEqual(damaged);
    expect(range!.block + range!.blocks).toBeGreaterThan(damaged);
    expect(await checked(7, '--repair')).toMatch(/^marked bad: chunk /m);

    await bed.ok(['dev_add', '-d', loop.path]);
    await expectGot(ids[0]!, contents[0]!);
    await expectGot(ids[1]!, contents[1]!);
    await refused(['get', '-i', ids[2]!, '-f', 'never'], 6, /./);
    await bed.ok(['srv_stop']);
  });

  it('is salvaged when all superblocks are gone', async () => {
    await filledDisk();
    const zeros = Buffer.alloc(4096);
    await using disk = await fs.open(loop.path, 'r+');
    for (const block of [0, 16, 2048, 2064]) await disk.write(zeros, 0, 4096, block * 4096);
    await disk.datasync();
    await disk.close();
    await refused(['dev_add', '-d', loop.path], 8, /no Holdfast store/);
    expect(await checked(7)).toMatch(/it cannot be opened: /);
    expect(await bed.ok(['dev', 'salvage', loop.path])).toMatch(/next: holdfast dev attach/);
    await checked(0);
    await bed.ok(['dev_add', '-d', loop.path]);
    for (const [index, id] of ids.entries()) await expectGot(id, contents[index]!);
    await expectGot(await put('and a new one'), 'and a new one');
    await bed.ok(['repair']);
    expect(await bed.ok(['status'])).not.toMatch(/damaged/);
    await bed.ok(['srv_stop']);
  });
});
