/**
 * Creates a second of the metadata plane, beside etcd used directly with one transaction a create,
 * in the same run and on the same ring of three: what group commit under a fence is worth. And the
 * engine `local` beside one durable append to a file each. Skipped where no etcd is installed.
 *
 * A create is one entry of a directory and its inode. Directly: one condition and three puts of the
 * same sizes (entry, inode, the directory's inode). Every figure waits for what is durable.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type DeviceId, GiB, hexId, LIMITS, utf8 } from '../src/base/index.ts';
import { type LocalDb, SqliteDb, SqliteThread } from '../src/db/index.ts';
import { DirectoryDevice } from '../src/device/index.ts';
import { realEnv } from '../src/env/index.ts';
import { EtcdConnection, EtcdLog, type FencedLog, LocalLog } from '../src/log/index.ts';
import { openNamespace, ROOT_INODE } from '../src/meta/index.ts';
import { Quorum } from '../src/node/metadata/quorum.ts';
import { StoreMirror } from '../src/node/metadata/store-mirror.ts';
import type { ExtentStore } from '../src/store/index.ts';
import { EtcdBed, findEtcd } from '../test/suites/etcd-bed.ts';
import { MemoryMirror } from '../test/suites/memory-mirror.ts';
import { type Bench, type BenchRow, interleave, rateRow } from './harness.ts';
import { formatBenchStore, openBenchStore } from './store-load.ts';

const IN_FLIGHT = [1, 64, 512] as const;
const RUN_MS = 2000;
const ENTRY_BYTES = 60;
const INODE_BYTES = 150;

type Create = (index: number) => Promise<unknown>;

/** Creates a second with so many in flight. */
async function rate(create: Create, inFlight: number): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  const one = async (): Promise<void> => {
    while (performance.now() - startMs < RUN_MS) await create(count++);
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return (count * 1000) / (performance.now() - startMs);
}

/** As a metadata plane does that keeps its rows in etcd: one transaction each. */
function createDirectly(connection: EtcdConnection, prefix: string): Create {
  const inode = randomBytes(INODE_BYTES);
  return async (index) => {
    const key = utf8(`${prefix}d/${String(index).padStart(ENTRY_BYTES - 20, '0')}`);
    const result = await connection.transact({
      conditions: [{ key, revision: 'created', is: 'equal', than: 0 }],
      ifMet: [
        { do: 'put', key, value: inode.subarray(0, 16) },
        { do: 'put', key: utf8(`${prefix}i/${index}`), value: inode },
        { do: 'put', key: utf8(`${prefix}parent`), value: inode },
      ],
      ifNot: [],
    });
    if (!result.areMet) throw new Error('an entry was there before');
  };
}

interface OpenCell extends AsyncDisposable {
  readonly create: Create;
}

/** A cell on a log, with its rows in SQLite as on a node. */
async function openCell(log: FencedLog, db: LocalDb): Promise<OpenCell> {
  const env = realEnv();
  const namespace = await openNamespace({ env, cell: 'bench', log, db });
  const run = randomBytes(8).toString('hex');
  return {
    create: (index) =>
      namespace.makeDirectory({
        parent: ROOT_INODE,
        name: utf8(`${run}${String(index).padStart(ENTRY_BYTES - 36, '0')}`),
        salt: randomBytes(16),
        attributes: randomBytes(64),
        isImplicit: false,
      }),
    [Symbol.asyncDispose]: () => namespace[Symbol.asyncDispose](),
  };
}

async function bytesWritten(): Promise<number> {
  const text = await readFile('/proc/self/io', 'utf8').catch(() => '');
  return Number(/^write_bytes: (\d+)/m.exec(text)?.[1] ?? Number.NaN);
}

async function overEtcd(folder: string, thread: SqliteThread): Promise<BenchRow[]> {
  const binary = findEtcd();
  if (binary === undefined) {
    console.error('no etcd is installed (Debian: etcd-server): nothing to compare with');
    return [];
  }
  const env = realEnv();
  await using bed = await EtcdBed.open(binary, 3);
  await using connection = new EtcdConnection({ members: bed.dials, clock: env.clock });
  await using connectionDirect = new EtcdConnection({ members: bed.dials, clock: env.clock });
  await using log = new EtcdLog({
    kv: connection,
    prefix: 'bench/',
    metadataKey: new Uint8Array(32).fill(1),
    generation: 1,
    env,
    parts: new MemoryMirror(),
  });
  await using db = await SqliteDb.open({ path: path.join(folder, 'etcd.db'), thread });
  await using cell = await openCell(log, db);
  const rows: BenchRow[] = [];
  let turn = 0;
  for (const inFlight of IN_FLIGHT) {
    const figures = await interleave({
      ours: () => rate(shifted(cell.create, (turn += 1)), inFlight),
      direct: () => rate(createDirectly(connectionDirect, `direct/${(turn += 1)}/`), inFlight),
    });
    rows.push(
      rateRow({
        name: `creates, ring of three, ${inFlight} in flight`,
        value: figures.ours,
        unit: '1/s',
        peer: 'etcd, one transaction each',
        peerValue: figures.direct,
      }),
    );
  }
  return rows;
}

/** Numbers of its own for each turn. */
function shifted(create: Create, turn: number): Create {
  return (index) => create(turn * 1e7 + index);
}

async function overLocal(folder: string, thread: SqliteThread): Promise<BenchRow[]> {
  const env = realEnv();
  const metadataKey = new Uint8Array(32).fill(1);
  await using stack = new AsyncDisposableStack();
  const mirror = await openMirror(folder, stack);
  await using log = await LocalLog.open({ env, mirror, metadataKey, generation: 1 });
  await using db = await SqliteDb.open({ path: path.join(folder, 'local.db'), thread });
  await using cell = await openCell(log, db);
  const file = await open(path.join(folder, 'appends'), 'a');
  const record = randomBytes(LIMITS.blockBytes);
  const append: Create = async () => {
    await file.write(record);
    await file.datasync();
  };
  let turn = 100;
  const one = await interleave({
    ours: () => rate(shifted(cell.create, (turn += 1)), 1),
    append: () => rate(append, 1),
  });
  const many = await interleave({ ours: () => rate(shifted(cell.create, (turn += 1)), 64) });
  const rows = [
    rateRow({
      name: 'creates, local, 1 in flight',
      value: one.ours,
      unit: '1/s',
      peer: '4 KiB append + fdatasync',
      peerValue: one.append,
    }),
    rateRow({ name: 'creates, local, 64 in flight', value: many.ours, unit: '1/s' }),
  ];
  const before = await bytesWritten();
  const count = 20_000;
  await Promise.all(
    Array.from({ length: 64 }, (_, lane) => lane).map(async (lane) => {
      for (let i = lane; i < count; i += 64) await cell.create(5e9 + i);
    }),
  );
  await file.close();
  rows.push({
    name: 'bytes written a create, local, 64 in flight',
    value: ((await bytesWritten()) - before) / count,
    unit: 'B',
  });
  return rows;
}

/** Copies on three stores, as a node with six of them keeps its log. */
async function openMirror(folder: string, stack: AsyncDisposableStack): Promise<StoreMirror> {
  const stores: ExtentStore[] = [];
  for (const name of ['s1', 's2', 's3']) {
    const place = path.join(folder, name);
    const uuid = hexId<DeviceId>(randomBytes(16));
    const made = { env: realEnv(), path: place, uuid, capacityBytes: 2 * GiB };
    await (await DirectoryDevice.create(made))[Symbol.asyncDispose]();
    await formatBenchStore(place);
    stores.push(stack.use(await openBenchStore(place)));
  }
  const members = stores.map(({ id }) => ({ id, state: 'in' as const, labels: [id] }));
  return new StoreMirror({
    stores: () => stores,
    tolerance: 2,
    quorum: new Quorum(members, 2),
  });
}

export const bench: Bench = async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'holdfast-bench-'));
  await using thread = new SqliteThread();
  try {
    const entryCap = { name: 'entries are filled up to', value: 16, unit: 'KiB' };
    return [entryCap, ...(await overEtcd(folder, thread)), ...(await overLocal(folder, thread))];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
