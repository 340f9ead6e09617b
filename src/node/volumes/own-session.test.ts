/**
 * Aim: a node whose session was ended by a copy of itself stores again, at once, what was begun
 * before is not taken for stored, and it is said when two go on so. Method: whole cores in virtual
 * time; what the copy does is done at the home, in the node's name.
 */
import { expect, it } from 'vitest';
import { errorCode, type NodeId } from '../../base/index.ts';
import { ClusterBed } from '../../../test/suites/cluster-bed.ts';
import { bytesOf, rs42, streamOf } from '../../../test/suites/store-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { OwnSession } from './own-session.ts';

it('a session that another one ended is opened anew, and two that go on are found', async () => {
  await using bed = await ClusterBed.open();
  const { home } = bed;
  const writer = bed.node(2);
  await home.up.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
  const { volumes } = writer.up;
  await bed.eventually(() => expect(volumes.records).toHaveLength(1));
  const put = async (size: number): Promise<unknown> => {
    const putting = volumes.objects('v').put(streamOf(bytesOf(size, size)), { key: `${size}` });
    return await putting.then(() => 'put', errorCode);
  };
  const takeOver = async () => await home.up.references.openSession(writer.id);

  expect(await put(100_000)).toBe('put');
  await takeOver();
  // Both find the same session ended, and one opens the next.
  expect(await Promise.all([put(100_001), put(100_002)])).toEqual(['HF_FENCED', 'HF_FENCED']);
  expect(await put(100_003)).toBe('put');
  expect(writer.up.isContested()).toBe(false);

  await takeOver();
  expect(await put(100_004)).toBe('HF_FENCED');
  expect(await put(100_005)).toBe('put');
  expect([writer.up.isContested(), home.up.isContested()]).toEqual([true, false]);
});

it('what was ended long ago is no sign any more', async () => {
  await using bed = await ClusterBed.open({ nodes: 1 });
  const { references } = bed.home.up;
  // By a clock of its own: hours pass in no time.
  const env = virtualEnv(2);
  const nodeId = 'ab'.repeat(16) as NodeId;
  const own = await OwnSession.open({ env, nodeId, references });
  const holder = { volume: 'cd'.repeat(16), inode: 1n };
  const found: boolean[] = [];
  for (const hours of [0, 0, 2]) {
    await env.clock.sleep(hours * 3_600_000);
    await references.openSession(nodeId);
    const adding = own.references.add({ session: own.current(), holder, stripes: [] });
    expect(await adding.catch(errorCode)).toBe('HF_FENCED');
    found.push(own.isContested);
  }
  expect(found).toEqual([false, true, false]);
});

it('what was named in a session that was ended is not stored in the next one', async () => {
  await using bed = await ClusterBed.open();
  const { up: home } = bed.home;
  await home.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
  const content = async function* () {
    yield bytesOf(9_000_000, 1);
    await home.references.openSession(bed.home.id);
    // Another put has the next session opened.
    const other = home.volumes.objects('v').put(streamOf(bytesOf(70_000, 2)));
    expect(await other.catch(errorCode)).toBe('HF_FENCED');
    yield bytesOf(9_000_000, 3);
  };
  const putting = home.volumes.objects('v').put(content(), { key: 'long' });
  expect(await putting.catch(errorCode)).toBe('HF_FENCED');
  expect(await home.volumes.objects('v').query('long').catch(errorCode)).toBe('HF_NOT_FOUND');
}, 20_000);
