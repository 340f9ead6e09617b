import { expect, it } from 'vitest';
import { sessionOf } from '../../../test/suites/handles-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { errorCode, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { MemoryLog } from '../../log/index.ts';
import { ROOT_INODE } from '../namespace/namespace.ts';
import type { TreeStep } from '../namespace/tree.ts';
import { openVolumeCell } from './volume-cell.ts';
const OWNER = { mode: 0o600, uid: 0, gid: 0 };
const A = sessionOf(1);
const at = (name: string, directory: bigint) => ({ directory, name: utf8(name), directoryName: utf8(`${name}/`)});
it('big', async () => {
  const env = virtualEnv(1);
  await using cell = await openVolumeCell({ env, cell: 'v', log: new MemoryLog(), db: new MemoryDb() });
  await cell.handles.openSession({ session: A, node: 'n' });
  const lease = (await cell.handles.leaseDirectory({ session: A, directory: ROOT_INODE, inodeCount: 60000, bytesReserved: 0, rowsReserved: 0 }))!;
  let sequence = 0;
  const run = (steps: TreeStep[]) => cell.tree.runBatch({ session: A, leases: [lease], lane: 0, sequence: ++sequence, steps }).then((x) => x.state === 'done' ? x.results[0]!.code ?? 'done' : x.state, errorCode);
  const ins = Array.from({ length: 64 }, (_, i) => lease.firstInode + BigInt(i));
  console.log(await run(ins.map((inode, i) => ({ do: 'makeNode', args: [{ ...OWNER, place: at(`f${i}`, ROOT_INODE), inode, type: 'file' }] }))));
  let w = 0;
  const commit = (inode: bigint, first: number, count: number): TreeStep => ({ do: 'commitExtents', args: [{ inode, write: lease.firstInode + 1000n + BigInt(w++), schemeNumbers: [3], sizeBytes: 0, baseChange: 0n, extents: Array.from({ length: count }, (_, k) => extentOf((first + k) * 20, 10, first + k + 1)) }] });
  const t0 = performance.now();
  console.log('256x256', await run(Array.from({ length: 256 }, (_, i) => commit(ins[i % 64]!, (i >> 6) * 256, 256))), performance.now() - t0, process.memoryUsage().rss / 1e6);
  // fill 64 files with 4096 extents each
  for (const inode of ins) for (let b = 0; b < 16; b += 8) { const r = await run(Array.from({length: 8}, (_, j) => commit(inode, (b + j) * 256, 256))); if (r !== 'done') { console.log('fill', r); return; } }
  const t1 = performance.now();
  const trunc: TreeStep[] = ins.map((inode) => ({ do: 'setAttributes', args: [inode, { sizeBytes: 0 }] }));
  console.log('trunc one', await run([trunc[0]!]), performance.now() - t1);
  const t2 = performance.now();
  console.log('trunc 63', await run(trunc.slice(1)), performance.now() - t2, process.memoryUsage().rss / 1e6);
}, 100_000);
