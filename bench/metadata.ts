/**
 * Creates a second of the metadata plane, beside etcd used directly with one transaction a create,
 * in the same run and on the same ring of three: what group commit under a fence is worth. And the
 * engine `local` beside one durable append to a file each. Skipped where no etcd is installed.
 *
 * A create is `makeNode` of a file in one directory, as a mount does it, with a sealed name of 40
 * bytes and 64 of sealed attributes: its entry, its inode, its back-link; the directory's inode,
 * the slot's counter and usage once for all that share an entry of the log. Directly: one condition
 * and three puts of the same sizes (entry, inode, the directory's inode), nothing sealed, no quota,
 * no link the other way. Every figure waits for what is durable.
 *
 * Besides: processor time of the steward's thread for a create, bytes written for one, and memory.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type DeviceId, GiB, hexId, LIMITS, toHex, utf8 } from '../src/base/index.ts';
import { type LocalDb, SqliteDb, SqliteThread } from '../src/db/index.ts';
import { DirectoryDevice } from '../src/device/index.ts';
import { realEnv } from '../src/env/index.ts';
import {
  EtcdConnection,
  EtcdLog,
  type FencedLog,
  LocalLog,
  type PartStore,
} from '../src/log/index.ts';
import { type Inode, openVolumeCell, type Place, ROOT_INODE } from '../src/meta/index.ts';
import { Quorum, StoreMirror } from '../src/node/index.ts';
import type { ExtentStore } from '../src/store/index.ts';
import { EtcdBed, findEtcd } from '../test/suites/etcd-bed.ts';
import { type Bench, type BenchRow, interleave, rateRow } from './harness.ts';
import { formatBenchStore, openBenchStore } from './store-load.ts';

const IN_FLIGHT = [1, 64, 512] as const;
const RUN_MS = 2000;
const NAME_BYTES = 40;
const ATTRIBUTE_BYTES = 64;
const INODE_BYTES = 150;
/** Creates of a run that is long enough to see what grows. */
const LONG_RUN = 400_000;

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
    const key = utf8(`${prefix}d/${String(index).padStart(NAME_BYTES, '0')}`);
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

/** A volume's cell on a log, with its rows in SQLite as on a node. */
async function openCell(log: FencedLog, db: LocalDb): Promise<OpenCell> {
  const cell = await openVolumeCell({ env: realEnv(), cell: 'bench', log, db });
  const owned = () => ({ uid: 0, gid: 0, attributes: randomBytes(ATTRIBUTE_BYTES) });
  const made = await cell.tree.makeDirectory({
    ...owned(),
    place: placeIn(ROOT_INODE),
    mode: 0o755,
    salt: randomBytes(16),
  });
  const { inode } = made.status;
  return {
    create: () =>
      cell.tree.makeNode({ ...owned(), place: placeIn(inode), type: 'file', mode: 0o644 }),
    [Symbol.asyncDispose]: () => cell[Symbol.asyncDispose](),
  };
}

/** Another name each time, random as sealed ones are. */
function placeIn(directory: Inode): Place {
  const name = randomBytes(NAME_BYTES);
  const directoryName = Buffer.from(name);
  directoryName[0] = directoryName[0]! ^ 1;
  return { directory, name, directoryName };
}

/** Parts of snapshots as files, so that memory is the cell's alone. */
async function fileParts(folder: string): Promise<PartStore> {
  await mkdir(folder);
  const file = (id: Uint8Array): string => path.join(folder, toHex(id));
  return {
    async put(bytes) {
      const id = randomBytes(32);
      await writeFile(file(id), bytes);
      return { id };
    },
    get: ({ id }) => readFile(file(id)),
    async remove(refs) {
      for (const { id } of refs) await rm(file(id), { force: true });
    },
  };
}

/** By these processes, to disks. */
async function bytesWritten(pids: readonly (number | 'self')[]): Promise<number> {
  return await sumOf(pids, 'io', /^write_bytes: (\d+)/m);
}

async function residentBytes(pids: readonly (number | 'self')[]): Promise<number> {
  return 1024 * (await sumOf(pids, 'status', /^VmRSS:\s+(\d+)/m));
}

/** Of what Linux tells of each; not a number elsewhere. */
async function sumOf(
  pids: readonly (number | 'self')[],
  file: string,
  field: RegExp,
): Promise<number> {
  const texts = pids.map((pid) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => ''));
  const figures = (await Promise.all(texts)).map((text) => Number(field.exec(text)?.[1]));
  return figures.reduce((sum, one) => sum + one, 0);
}

/** What this process holds when nothing is garbage: its heap, buffers, and SQLite's caches. */
async function heldBytes(): Promise<{ resident: number; heap: number }> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return { resident: await residentBytes(['self']), heap: heapUsed + external };
}

/** So many creates, 512 in flight. @returns processor time of this thread for each, in µs. */
async function createMany(create: Create, count: number): Promise<number> {
  const lanes = Array.from({ length: 512 }, (_, lane) => lane);
  const before = process.threadCpuUsage();
  await Promise.all(
    lanes.map(async (lane) => {
      for (let i = lane; i < count; i += lanes.length) await create(i);
    }),
  );
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / count;
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
    parts: await fileParts(path.join(folder, 'parts')),
  });
  await using db = await SqliteDb.open({ path: path.join(folder, 'etcd.db'), thread });
  await using cell = await openCell(log, db);
  const rows: BenchRow[] = [];
  let turn = 0;
  for (const inFlight of IN_FLIGHT) {
    const figures = await interleave({
      ours: () => rate(cell.create, inFlight),
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
  return [...rows, ...(await longRun(cell.create, bed))];
}

/** What a create costs the steward, the ring and its disks. */
async function longRun(create: Create, bed: EtcdBed): Promise<BenchRow[]> {
  const pids = bed.members.map(({ machine }) => machine.child?.pid ?? 0);
  const written = { ring: await bytesWritten(pids), own: await bytesWritten(['self']) };
  const before = await heldBytes();
  const name = (what: string): string => `${what}, ring of three, 512 in flight`;
  const microseconds = await createMany(create, LONG_RUN);
  const ring = (await bytesWritten(pids)) - written.ring;
  const own = (await bytesWritten(['self'])) - written.own;
  const after = await heldBytes();
  return [
    { name: name("steward's thread a create"), value: microseconds, unit: 'µs' },
    { name: name('written a create, all members'), value: ring / LONG_RUN, unit: 'B' },
    { name: name("written a create, steward's rows"), value: own / LONG_RUN, unit: 'B' },
    { name: "steward's process, resident", value: after.resident / 1e6, unit: 'MB' },
    {
      name: 'its heap and buffers grow by, a million files',
      value: (after.heap - before.heap) / LONG_RUN,
      unit: 'MB',
    },
    {
      name: 'resident, one etcd, at the end',
      value: (await residentBytes(pids)) / pids.length / 1e6,
      unit: 'MB',
    },
  ];
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
  const one = await interleave({
    ours: () => rate(cell.create, 1),
    append: () => rate(append, 1),
  });
  const many = await interleave({ ours: () => rate(cell.create, 64) });
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
  await file.close();
  const before = await bytesWritten(['self']);
  const count = 20_000;
  await createMany(cell.create, count);
  rows.push({
    name: 'written a create, local, three stores, 512 in flight',
    value: ((await bytesWritten(['self'])) - before) / count,
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
    const entryCap = {
      name: 'etcd: entries of one change, deflated, up to',
      value: 16,
      unit: 'KiB',
    };
    return [entryCap, ...(await overEtcd(folder, thread)), ...(await overLocal(folder, thread))];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
