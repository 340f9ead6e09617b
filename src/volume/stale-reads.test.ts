/**
 * Aim: reads go on with old names when nobody answers for the newest, and only then; the wait for
 * that is short, and over as soon as somebody answers again. Method: three hosts that carry a cell,
 * on virtual time; two die, or one lags behind. A door that reads old names too early is noticed.
 */
import { afterEach, expect, it } from 'vitest';
import { HostingBed, told, VOLUME } from '../../test/suites/hosting-bed.ts';
import { utf8 } from '../base/index.ts';
import { type Namespace, ROOT_INODE, spaceOfVolume } from '../meta/index.ts';
import { StaleReads, type StaleReadsOptions } from './stale-reads.ts';

const SPACE = spaceOfVolume(VOLUME);
const UNDONE = /HF_UNAVAILABLE|HF_UNKNOWN_OUTCOME/;

let bed: HostingBed;

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function openBed(): Promise<void> {
  bed = await HostingBed.open(3, { hasEtcd: true });
  await bed.pin(SPACE, 1, 2, 3);
  await bed.until(() => bed.stewards(SPACE)[0] === 1);
}

type DoorOptions = Partial<StaleReadsOptions> & { readonly isCut?: () => boolean };

/** As a volume reads at host 3. */
function openDoor({ isCut = () => false, ...options }: DoorOptions = {}) {
  const { hosting, env } = bed.host(3);
  const namespace = hosting.staleNamespace(VOLUME);
  const tree = hosting.staleTree(VOLUME);
  const reads = new StaleReads({ env, stale: () => ({ namespace, tree, isCut }), ...options });
  const heard = reads.heard(hosting.namespace(VOLUME));
  const readableTree = reads.tree(reads.heard(hosting.tree(VOLUME)));
  return { reads, heard, readable: reads.namespace(heard), readableTree };
}

async function makeDirectory(namespace: Namespace, name: string): Promise<void> {
  await namespace.makeDirectory({
    parent: ROOT_INODE,
    name: utf8(name),
    salt: new Uint8Array(16),
    attributes: new Uint8Array(),
    isImplicit: false,
  });
}

async function has(namespace: Namespace, name: string): Promise<boolean> {
  return (await namespace.lookup(ROOT_INODE, utf8(name))) !== undefined;
}

async function timed<Result>(work: Promise<Result>): Promise<{ result: Result; ms: number }> {
  const { clock } = bed.env;
  const startMs = clock.monotonic();
  const result = await work;
  return { result, ms: clock.monotonic() - startMs };
}

it('reads go on while two of three hosts are gone, changes fail, and doubt ends', async () => {
  await openBed();
  const { reads, heard, readable, readableTree } = openDoor();
  await makeDirectory(heard, 'before');
  expect(await has(readable, 'before')).toBe(true);
  expect(reads.agoMs).toBe(Infinity);
  await bed.env.clock.sleep(2000);

  bed.cutOff.add(3);
  await bed.kill(1);
  await bed.kill(2);
  const first = await timed(has(readable, 'before'));
  expect(first.result).toBe(true);
  expect(first.ms).toBeLessThan(12_000);
  for (let count = 0; count < 20; count++) {
    const next = await timed(has(readable, 'before'));
    expect(next.result).toBe(true);
    expect(next.ms).toBeLessThan(1100);
    await bed.env.clock.sleep(1000);
  }
  expect(await readable.lookup(ROOT_INODE, utf8('nothing'))).toBeUndefined();
  const { count } = reads;
  expect(await told(readableTree.listAttributes({ directory: 77n }))).toBe('HF_NOT_FOUND');
  expect(reads.count).toBe(count + 1);
  const change = await timed(told(makeDirectory(heard, 'meanwhile')));
  expect(change.result).toMatch(UNDONE);
  expect(change.ms).toBeLessThan(12_000);
  expect(reads.agoMs).toBeLessThan(15_000);

  await bed.start(1);
  await bed.start(2);
  bed.cutOff.delete(3);
  await bed.until(async () => (await told(makeDirectory(heard, 'after'))) === undefined);
  expect(reads.agoMs).toBe(Infinity);
  const { namespace } = bed.host(1);
  for (let number = 0; number < 20; number++) {
    await makeDirectory(namespace, `after-${number}`);
    expect(await has(readable, `after-${number}`)).toBe(true);
  }
});

/** Whether host 3, whose rows lag behind, shows at once what is made at host 1. */
async function showsNewest(options: DoorOptions): Promise<boolean> {
  await openBed();
  const { readable } = openDoor(options);
  await has(readable, 'early');
  await bed.env.clock.sleep(2000);
  bed.cutOff.add(3); // its replica does not follow any more; the steward answers
  let isNewest = true;
  for (let number = 0; number < 10; number++) {
    await makeDirectory(bed.host(1).namespace, `made-${number}`);
    isNewest &&= await has(readable, `made-${number}`);
  }
  return isNewest;
}

it('a node that knows it is cut off does not wait for long', async () => {
  await openBed();
  const { heard, readable } = openDoor({ isCut: () => true });
  await makeDirectory(heard, 'before');
  await bed.env.clock.sleep(2000);
  bed.cutOff.add(3);
  await bed.kill(1);
  await bed.kill(2);
  const first = await timed(has(readable, 'before'));
  expect(first.result).toBe(true);
  expect(first.ms).toBeLessThan(1100);
});

it('the newest names are read while the majority is there', async () => {
  expect(await showsNewest({})).toBe(true);
  await bed[Symbol.asyncDispose]();
  expect(await showsNewest({ isCut: () => true })).toBe(true);
});

it('that is noticed when it is not so', async () => {
  expect(await showsNewest({ fault: 'always-stale' })).toBe(false);
});

it('what is no silence is passed on, and begins no doubt', async () => {
  await openBed();
  const { reads } = openDoor();
  const tree = reads.tree(reads.heard(bed.host(3).hosting.tree(VOLUME)));
  expect(await told(tree.listAttributes({ directory: 77n }))).toBe('HF_NOT_FOUND');
  expect(reads.agoMs).toBe(Infinity);
});

it('without old names the failure is passed on', async () => {
  await openBed();
  const { heard, readable } = openDoor({ stale: () => undefined });
  await makeDirectory(heard, 'before');
  bed.cutOff.add(3);
  await bed.kill(1);
  await bed.kill(2);
  expect(await told(has(readable, 'before'))).toMatch(UNDONE);
});
