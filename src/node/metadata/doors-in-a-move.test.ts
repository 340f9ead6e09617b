/**
 * Aim: what mounts hold of a volume survives a move of the metadata: sessions, locks and directory
 * leases are there afterwards, what stewards had in memory is known to be gone, and neither who
 * waits for a directory nor its holder loses anything. Method: a home on stores in memory whose
 * cells are moved to a log in a simulated etcd, behind a MovingMetadata, in virtual time.
 */
import { expect, it } from 'vitest';
import { lockOf, sessionOf } from '../../../test/suites/handles-bed.ts';
import { CoreBed, METADATA_KEY } from '../../../test/suites/store-bed.ts';
import { LIMITS, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { EtcdLog, MemoryEtcd } from '../../log/index.ts';
import {
  openVolumeCell,
  ROOT_INODE,
  spaceOfVolume,
  type TreeBatch,
  type TreeStep,
  type VolumeDoors,
} from '../../meta/index.ts';
import { moveToRing } from './engine-change.ts';
import { LocalMetadata } from './local-metadata.ts';
import type { Metadata } from './metadata.ts';
import { MovingMetadata } from './moving-metadata.ts';
import { MemoryMirror } from '../../../test/suites/memory-mirror.ts';

const A = sessionOf(1);
const LOCK = lockOf({ owner: 1, inode: ROOT_INODE });

async function openBed() {
  const cores = new CoreBed();
  const { bed } = cores;
  const { env } = bed;
  const core = await cores.open();
  await core.volumes.create({ name: 'v', isDeduplicating: true });
  const { id: volume } = core.volumes.records[0]!;
  await core[Symbol.asyncDispose]();
  const options = cores.metadataOptions();
  const etcd = new MemoryEtcd({ env });
  const local = await LocalMetadata.open(options);
  const metadata = new MovingMetadata(local);
  const stack = new AsyncDisposableStack();
  const move = async (before: Metadata): Promise<Metadata> => {
    const place = { env, prefix: 'test/2/', metadataKey: METADATA_KEY, generation: 2 };
    const parts = new MemoryMirror();
    const from = await (before as LocalMetadata).freeze();
    await moveToRing({ ...place, from, kv: etcd.connect(), parts });
    const log = stack.use(new EtcdLog({ ...place, kv: etcd.connect(), parts }));
    const cell = { env, log, cell: spaceOfVolume(volume), db: new MemoryDb() };
    return metadataOver(stack.use(await openVolumeCell(cell)));
  };
  return { clock: env.clock, volume, metadata, move, stack };
}

/** Has nothing but the doors of one volume. */
function metadataOver(doors: VolumeDoors): Metadata {
  const metadata: Partial<Metadata> = {
    openTree: async () => doors.tree,
    openHandles: async () => doors.handles,
    async [Symbol.asyncDispose]() {},
  };
  return metadata as Metadata;
}

it('keeps what mounts hold, and lets them bring what they owe', async () => {
  const { clock, volume, metadata, move, stack } = await openBed();
  await using _ = stack;
  await using __ = metadata;
  const handles = await metadata.openHandles(volume);
  const tree = await metadata.openTree(volume);
  const { generation } = await handles.openSession({ session: A, node: 'n' });
  expect(await handles.lock({ ...LOCK, waits: false })).toEqual({ state: 'granted' });
  const wanted = { inodeCount: 1, bytesReserved: 0, rowsReserved: 0 };
  const lease = (await handles.leaseDirectory({ session: A, directory: ROOT_INODE, ...wanted }))!;
  const place = { directory: ROOT_INODE, name: utf8('f'), directoryName: utf8('f/') };
  const owner = { mode: 0o600, uid: 0, gid: 0 };
  const { changeCount } = (await tree.getAttributes(ROOT_INODE))!;
  const chmod: TreeStep = { do: 'setAttributes', args: [ROOT_INODE, { mode: 0o700 }] };
  const batch: TreeBatch = {
    session: A,
    leases: [lease],
    lane: 0,
    sequence: 1,
    steps: [{ do: 'makeNode', args: [{ ...owner, place, type: 'file' }] }],
  };
  const quiet = { ...batch, lane: 1, sequence: 2, steps: [chmod] };
  const before = await tree.runBatch(quiet);
  const reading = tree.listAttributes({ directory: ROOT_INODE });
  await clock.sleep(100);
  const startMs = clock.monotonic();
  await metadata.move(move);
  // Who waits for the holder does not keep the metadata where it is.
  expect(clock.monotonic() - startMs).toBeLessThan(2 * LIMITS.handleWaitMsMax);

  const renewed = await handles.renewSession(A);
  expect(renewed.generation).not.toBe(generation);
  expect(await handles.testLock({ ...LOCK, owner: 2n })).toMatchObject({ session: A });
  while ((await handles.awaitRecalls(A, [lease], 800)).length === 0) continue;
  expect(await tree.runBatch(quiet)).toEqual(before);
  const answer = await tree.runBatch(batch);
  expect(answer).toMatchObject({ state: 'done' });
  expect(await tree.runBatch(batch)).toEqual(answer);
  await handles.returnDirectories(lease.session, [lease]);
  expect(await reading).toMatchObject([{ name: utf8('f') }]);
  expect((await tree.getAttributes(ROOT_INODE))?.changeCount).toBe(changeCount + 2n);
  expect(await tree.runBatch({ ...batch, sequence: 3 })).toMatchObject({ state: 'fenced' });
});
