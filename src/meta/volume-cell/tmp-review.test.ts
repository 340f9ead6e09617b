import { expect, it } from 'vitest';
import { sessionOf } from '../../../test/suites/handles-bed.ts';
import { HostingBed, nodeOf, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, type ObjectId, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { MemoryLog } from '../../log/index.ts';
import { withSplit } from '../hosting/cell-map.ts';
import { spaceOfVolume } from '../hosting/hosted-tables.ts';
import { ROOT_INODE } from '../namespace/namespace.ts';
import type { TreeStep } from '../namespace/tree.ts';
import { openVolumeCell } from './volume-cell.ts';
const OWNER = { mode: 0o600, uid: 0, gid: 0 };
const A = sessionOf(1);
const at = (name: string | Uint8Array, directory: bigint) => ({ directory, name: typeof name === 'string' ? utf8(name) : name, directoryName: typeof name === 'string' ? utf8(`${name}/`): new Uint8Array([...name, 47]) });

it('T5 numbers not handed out', async () => {
  const env = virtualEnv(1);
  await using cell = await openVolumeCell({ env, cell: 'v', log: new MemoryLog(), db: new MemoryDb() });
  const first = await cell.namespace.allocateInodes(1);
  const stolen = first + 2n;
  const made = await cell.tree.makeNode({ ...OWNER, place: at('victim', ROOT_INODE), inode: stolen, type: 'file' }).catch(errorCode);
  console.log(made);
  for (const n of ['a', 'b', 'c']) {
    const r = await cell.tree.makeNode({ ...OWNER, place: at(n, ROOT_INODE), type: 'fifo' });
    console.log(n, r.status.inode);
  }
  console.log(await cell.tree.lookup(at('victim', ROOT_INODE)));
  for (const inode of [0n, 1n]) console.log(await cell.tree.makeNode({ ...OWNER, place: at(`z${inode}`, ROOT_INODE), inode, type: 'file' }).catch(errorCode));
});

it('T3 too large across cells', async () => {
  await using bed = await HostingBed.open(3);
  const space = spaceOfVolume(VOLUME);
  await bed.pin(space, 1, 2, 3);
  const { maps } = bed.host(3).hosting;
  const map = await maps.read(space);
  await maps.replace(map, withSplit(map, space, [2, 3, 1].map(nodeOf)));
  await bed.until(async () => (await maps.read(space)).move === undefined);
  const [root] = bed.stewards(space);
  console.log('steward of root', root, bed.stewards(`${space}-1`));
  const doors = bed.host(Number(root ?? 1)).hosting.volume(VOLUME);
  await doors.handles.openSession({ session: A, node: 'n' });
  const lease = (await doors.handles.leaseDirectory({ session: A, directory: ROOT_INODE, inodeCount: 1, bytesReserved: 0, rowsReserved: 0 }))!;
  const far = await doors.namespace.allocateInodes(300, { objectId: 'fff'.padEnd(32, '0') as ObjectId });
  const steps: TreeStep[] = [{ do: 'makeDirectory', args: [{ ...OWNER, place: at('far', ROOT_INODE), inode: far, salt: utf8('s') }] }];
  const first = await doors.tree.runBatch({ session: A, leases: [lease], lane: 0, sequence: 1, steps });
  expect(first.state).toBe('done');
  const more: TreeStep[] = [];
  for (let n = 1; n <= 200; n++) {
    const name = new Uint8Array(1200).fill(65); name[0] = n;
    more.push({ do: 'makeNode', args: [{ ...OWNER, place: at(name, far), inode: far + BigInt(n), type: 'fifo' }] });
  }
  console.log(JSON.stringify(process.cpuUsage()));const start = bed.env.clock.monotonic();
  const got = await doors.tree.runBatch({ session: A, leases: [lease], lane: 0, sequence: 2, steps: more }).catch(e => `${errorCode(e)} ${e.message}`);
  console.log(JSON.stringify(process.cpuUsage()));console.log(typeof got === 'string' ? got : got.state, bed.env.clock.monotonic() - start);
  expect(typeof got === 'string' && got.startsWith('HF_TOO_LARGE')).toBe(true);
}, 60_000);
