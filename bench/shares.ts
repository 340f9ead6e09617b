/**
 * Share and chunk files as a user makes them: whole processes on files of a temporary folder, from
 * their start until the data is on its disk. Peers: the figures of rabin-split that
 * requirements.md quotes (16 MiB; another sitting on a like machine, without fsync), `dd
 * conv=fsync` of as many bytes as `chunk make` writes, and par2 and zfec where they are installed.
 */
import { spawnSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { GiB, MiB } from '../src/base/index.ts';
import { type BenchRow, formatTable, interleave, type Measure, timeRow } from './harness.ts';

const HOLDFAST = fileURLToPath(new URL('../bin/holdfast.js', import.meta.url));
/** Seconds that rabin-split took for 16 MiB: requirements.md, "Numbers". */
const RABIN_SPLIT: readonly (readonly [k: number, n: number, seconds: number])[] = [
  [3, 4, 0.18],
  [10, 14, 0.52],
  [8, 16, 0.58],
];

class Bed implements Disposable {
  readonly root = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-shares-'));

  file(name: string, bytes: number): string {
    const file = path.join(this.root, name);
    const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
    const piece = Buffer.alloc(16 * MiB);
    const fd = fs.openSync(file, 'w');
    for (let at = 0; at < bytes; at += piece.length) {
      fs.writeSync(fd, cipher.update(piece.subarray(0, Math.min(piece.length, bytes - at))));
    }
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    return file;
  }

  /** Seconds of a command that has an empty folder to write to. */
  timed(command: (folder: string) => readonly string[]): Measure {
    return () => {
      const folder = path.join(this.root, 'out');
      fs.rmSync(folder, { recursive: true, force: true });
      fs.mkdirSync(folder);
      const [program, ...args] = command(folder);
      const start = performance.now();
      const { status, stderr, error } = spawnSync(program!, args, { encoding: 'utf8' });
      const seconds = (performance.now() - start) / 1000;
      if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error ?? stderr}`);
      return seconds;
    };
  }

  holdfast(...words: readonly string[]): Measure {
    const data = path.join(this.root, 'data');
    return this.timed((folder) => [
      process.execPath,
      HOLDFAST,
      '--data',
      data,
      ...words.map((word) => (word === 'OUT' ? folder : word)),
    ]);
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.root, { recursive: true, force: true });
  }
}

function succeeds(program: string, ...args: readonly string[]): boolean {
  return spawnSync(program, args).status === 0;
}

/** Makers of 10+4 from a file, beside ours. */
function peers(bed: Bed, file: string, sizeBytes: number): Record<string, Measure> {
  const written = bed.file('written', Math.ceil((sizeBytes * 14) / 10));
  const found: Record<string, Measure> = {
    'dd conv=fsync': bed.timed((folder) => [
      'dd',
      `if=${written}`,
      `of=${folder}/dd`,
      'bs=1M',
      'conv=fsync',
    ]),
  };
  if (succeeds('par2', '--version')) {
    const create = ['par2', 'create', '-q', '-q', '-r40', '-b100', '-B', bed.root];
    found['par2'] = bed.timed((folder) => [...create, path.join(folder, 'p.par2'), file]);
  } else console.error('bench shares: par2 is not installed');
  const zfec = 'from zfec.cmdline_zfec import main; import sys; sys.exit(main())';
  // Debian's module belongs to Debian's Python.
  if (succeeds('/usr/bin/python3', '-c', 'import zfec.cmdline_zfec')) {
    const cut = ['/usr/bin/python3', '-c', zfec, '-q', '-m', '14', '-k', '10', '-d'];
    found['zfec'] = bed.timed((folder) => [...cut, folder, file]);
  } else console.error('bench shares: no zfec that cuts files');
  return found;
}

async function benchSplit(bed: Bed, file: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const [k, n, peerSeconds] of RABIN_SPLIT) {
    const split = ['shares', 'split', '--share-targets', '-k', `${k}`, '-n', `${n}`, file];
    const times = await interleave({
      plain: bed.holdfast(...split, '--plain', '--targets', 'OUT'),
      sealed: bed.holdfast(...split, '--targets', 'OUT'),
    });
    for (const [kind, value] of Object.entries(times)) {
      const name = `shares split ${k}/${n} 16 MiB ${kind}`;
      const peer = 'rabin-split (quoted)';
      rows.push(timeRow({ name, value, unit: 's', peer, peerValue: peerSeconds }));
    }
  }
  return rows;
}

async function benchMake(bed: Bed, file: string, label: string): Promise<BenchRow[]> {
  const make = ['chunk', 'make', file, '-d', 'OUT'];
  const others = peers(bed, file, fs.statSync(file).size);
  const times = await interleave({
    plain: bed.holdfast(...make, '--plain'),
    sealed: bed.holdfast(...make),
    ...others,
  } as Record<string, Measure>);
  return ['plain', 'sealed'].flatMap((kind) =>
    Object.keys(others).map((peer) => {
      const name = `chunk make 10+4 ${label} ${kind}`;
      return timeRow({ name, value: times[kind]!, unit: 's', peer, peerValue: times[peer]! });
    }),
  );
}

export async function bench(): Promise<readonly BenchRow[]> {
  using bed = new Bed();
  const small = bed.file('small', 16 * MiB);
  const large = bed.file('large', GiB);
  return [
    ...(await benchSplit(bed, small)),
    ...(await benchMake(bed, small, '16 MiB')),
    ...(await benchMake(bed, large, '1 GiB')),
  ];
}

if (import.meta.main) console.log(formatTable(await bench()));
