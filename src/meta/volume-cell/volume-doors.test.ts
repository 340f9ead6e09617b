// Aim and method: test/suites/volume-doors.ts over one cell here, one on another node of a network
// in memory, and two cells on three hosts; all on virtual time. And a lost answer, of the second.
import { expect, it } from 'vitest';
import { sessionOf } from '../../../test/suites/handles-bed.ts';
import { HostingBed, nodeOf, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { RemoteBed } from '../../../test/suites/remote-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { describeVolumeDoors } from '../../../test/suites/volume-doors.ts';
import { LIMITS, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import { MemoryLog } from '../../log/index.ts';
import { withSplit } from '../hosting/cell-map.ts';
import { spaceOfVolume } from '../hosting/hosted-tables.ts';
import { ROOT_INODE } from '../namespace/namespace.ts';
import type { TreeStep } from '../namespace/tree.ts';
import { remoteVolume } from '../remote/remote-cells.ts';
import { serveVolumes } from '../remote/serve-cells.ts';
import { openVolumeCell, type VolumeCell } from './volume-cell.ts';

function cellOf(env: Env): Promise<VolumeCell> {
  return openVolumeCell({ env, cell: 'v', log: new MemoryLog(), db: new MemoryDb() });
}

describeVolumeDoors('one cell', async () => {
  const env = virtualEnv(1);
  const cell = await cellOf(env);
  return {
    clock: env.clock,
    doors: [{ ...cell }, { ...cell }],
    [Symbol.asyncDispose]: () => cell[Symbol.asyncDispose](),
  };
});

describeVolumeDoors('one cell of another node', async () => {
  let served: VolumeCell | undefined;
  const bed = await RemoteBed.open((server) =>
    serveVolumes(server, { volumeOf: () => served, mayServe: () => true }),
  );
  const cell = (served = await cellOf(bed.env));
  const where = { network: bed.asker, node: bed.server.self };
  return {
    clock: bed.env.clock,
    doors: [remoteVolume({ ...where, volume: 'v' }), cell],
    async [Symbol.asyncDispose]() {
      await bed[Symbol.asyncDispose]();
      await cell[Symbol.asyncDispose]();
    },
  };
});

describeVolumeDoors('two cells on three nodes', async () => {
  const bed = await HostingBed.open(3);
  const space = spaceOfVolume(VOLUME);
  await bed.pin(space, 1, 2, 3);
  const { maps } = bed.host(3).hosting;
  const map = await maps.read(space);
  await maps.replace(map, withSplit(map, space, [2, 3, 1].map(nodeOf)));
  await bed.until(async () => (await maps.read(space)).move === undefined);
  const [a, b] = [3, 2].map((number) => bed.host(number).hosting.volume(VOLUME));
  return {
    clock: bed.env.clock,
    doors: [a!, b!],
    [Symbol.asyncDispose]: () => bed[Symbol.asyncDispose](),
  };
});

it('a batch whose answer is lost leaves no doubt: it is asked again, and done once', async () => {
  let answers = 0;
  let served: VolumeCell | undefined;
  await using bed = await RemoteBed.open((server, { net }) =>
    serveVolumes(server, {
      volumeOf: () =>
        served && {
          ...served,
          tree: {
            ...served.tree,
            async runBatch(batch) {
              const answer = await served!.tree.runBatch(batch);
              if (answers++ === 0) net.partition(() => true);
              return answer;
            },
          },
        },
      mayServe: () => true,
    }),
  );
  await using cell = await cellOf(bed.env);
  served = cell;
  const where = { network: bed.asker, node: bed.server.self };
  const { tree, handles } = remoteVolume({ ...where, volume: 'v' });
  const session = sessionOf(1);
  await handles.openSession({ session, node: 'n' });
  const wanted = { inodeCount: 1, bytesReserved: 0, rowsReserved: 0 };
  const lease = (await handles.leaseDirectory({ session, directory: ROOT_INODE, ...wanted }))!;
  const place = { directory: ROOT_INODE, name: utf8('f'), directoryName: utf8('f/') };
  const owner = { mode: 0o600, uid: 0, gid: 0 };
  const step: TreeStep = { do: 'makeNode', args: [{ ...owner, place, type: 'file' }] };
  const batch = { session, leases: [lease], lane: 0, sequence: 1, steps: [step] };
  const running = tree.runBatch(batch);
  await bed.env.clock.sleep(LIMITS.remoteCallMs + 500);
  bed.net.heal();
  expect(await running).toMatchObject({ state: 'done', results: [{ changeCount: 0n }] });
  expect(answers).toBe(2);
  expect((await cell.tree.usage()).inodeCount).toBe(2);
});
