/**
 * Aim: a node that holds directories and is not heard of loses them with all that it had not
 * brought, says so once, and shows nobody what is not so; an idle one gives a directory up at once;
 * what is open stays. Method: two nodes over one cell, in virtual time, one of them cut off.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  type HeldNode,
  type HeldNodeOptions,
  openCell,
  openHeldNode,
} from '../../../test/suites/held-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, LIMITS, utf8 } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type Inode,
  type Place,
  ROOT_INODE,
  type TreeEntry,
  type VolumeCell,
} from '../../meta/index.ts';

const OWNED = { mode: 0o644, uid: 1, gid: 2 };

let env: Env;
let cell: VolumeCell;
let nodes: HeldNode[];

beforeEach(async () => {
  env = virtualEnv(1);
  cell = await openCell(env);
  nodes = [];
});

afterEach(async () => {
  for (const node of nodes) {
    node.isCutOff = false;
    await node[Symbol.asyncDispose]();
  }
  await cell[Symbol.asyncDispose]();
});

async function open(node: string, options: Partial<HeldNodeOptions> = {}): Promise<HeldNode> {
  const opened = await openHeldNode({ env, cell, node, ...options });
  nodes.push(opened);
  return opened;
}

function at(name: string, directory: Inode = ROOT_INODE): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

async function make({ tree }: HeldNode, name: string): Promise<TreeEntry> {
  return await tree.makeNode({ ...OWNED, type: 'file', place: at(name) });
}

/** Makes files until the directory is held, and all of them are brought. */
async function hold(node: HeldNode, prefix = 'h'): Promise<void> {
  for (const number of [1, 2, 3]) await make(node, `${prefix}${number}`);
  await node.held.bringAll();
  const { status } = (await node.tree.lookup(at(`${prefix}3`)))!;
  expect(node.held.guards(status.inode)).toBe(true);
}

interface MadeDirectory {
  readonly directory: Inode;
  /** `f` in it. */
  readonly file: Inode;
}

let directoryCount = 0;

/** In the root, which is held, with a file each, all of it brought. */
async function makeDirectories(node: HeldNode, count: number): Promise<MadeDirectory[]> {
  const made: MadeDirectory[] = [];
  for (; made.length < count; directoryCount++) {
    const place = at(`d${directoryCount}`);
    const { status } = await node.tree.makeDirectory({ ...OWNED, place, salt: utf8('salt') });
    const file = { ...OWNED, type: 'file', place: at('f', status.inode) } as const;
    const { inode } = (await node.tree.makeNode(file)).status;
    made.push({ directory: status.inode, file: inode });
  }
  await node.held.bringAll();
  return made;
}

it('brings many steps in few batches', async () => {
  const node = await open('a');
  await hold(node);
  const before = node.answered('runBatch').length;
  for (let index = 0; index < 500; index++) await make(node, `f${index}`);
  await node.held.bringAll();
  expect(node.answered('runBatch').length - before).toBeLessThan(12);
  expect(
    (await cell.tree.listAttributes({ directory: ROOT_INODE, claim: undefined, limit: 1 })).length,
  ).toBe(1);
});

it('gives a directory up at once when it is idle and another one asks', async () => {
  const [a, b] = [await open('a'), await open('b')];
  await hold(a);
  await env.clock.sleep(20_000);
  const beganMs = env.clock.monotonic();
  expect(await b.tree.lookup(at('h1'))).toBeDefined();
  expect(env.clock.monotonic() - beganMs).toBeLessThan(1000);
});

it('returns by itself what nobody uses', async () => {
  const a = await open('a');
  await hold(a);
  await env.clock.sleep(LIMITS.heldIdleMs + 5000);
  expect(await cell.tree.lookup(at('h1'))).toBeDefined();
  expect(a.held.guards((await cell.tree.lookup(at('h1')))!.status.inode)).toBe(false);
});

it('gives back with a directory what nobody uses beside it, together', async () => {
  const [a, b] = [await open('a'), await open('b')];
  await hold(a);
  const made = await makeDirectories(a, 300);
  await env.clock.sleep(10_000);
  const used = made.at(-1)!;
  await a.tree.makeNode({ ...OWNED, type: 'file', place: at('new', used.directory) });
  expect(await b.tree.lookup(at('f', made[0]!.directory))).toBeDefined();
  await env.clock.sleep(1000);
  expect(made.filter(({ file }) => a.held.guards(file))).toEqual([used]);
  expect(a.answered('returnDirectories').length).toBeLessThan(5);
});

it('holds many directories, and makes way among them for new ones', async () => {
  const a = await open('a');
  await hold(a);
  const made = await makeDirectories(a, LIMITS.heldDirectoriesMax + 20);
  await env.clock.sleep(1000);
  const held = made.filter(({ file }) => a.held.guards(file));
  expect(held.length).toBeGreaterThan(0.9 * LIMITS.heldDirectoriesMax);
  expect(held.length).toBeLessThanOrEqual(LIMITS.heldDirectoriesMax);
  expect(held).toEqual(made.slice(-held.length));
  expect(a.answered('returnDirectories').length).toBeLessThan(5);
});

it('asks about each directory once in a while, however many come', async () => {
  const a = await open('a');
  await hold(a);
  for (let index = 0; index < 100; index++) {
    await makeDirectories(a, 1);
    await env.clock.sleep(30);
  }
  const spentMs = env.clock.monotonic();
  const aboutCount = a
    .answered('awaitRecalls')
    .map(([, leases]) => (leases as readonly unknown[]).length)
    .reduce((sum, count) => sum + count, 0);
  // Each one when it is new, and then once in each round.
  expect(aboutCount).toBeGreaterThan(100);
  expect(aboutCount).toBeLessThan(101 + 101 * (spentMs / LIMITS.handleWaitMsMax + 1));
});

it('asks for what it knows no more of all that it lists together', async () => {
  const [a, b] = [await open('a'), await open('b')];
  for (let index = 0; index < 50; index++) await make(b, `f${index}`);
  await env.clock.sleep(2 * LIMITS.leaseAgainMs);
  await hold(a);
  await env.clock.sleep(LIMITS.heldStatusMsMax + 1);
  const before = a.answered('getAttributes').length;
  const listed = a.answered('listAttributes').length;
  expect(await a.tree.listAttributes({ directory: ROOT_INODE })).toHaveLength(53);
  for (let index = 0; index < 50; index++) await a.tree.lookup(at(`f${index}`));
  expect(a.answered('listAttributes').length - listed).toBe(1);
  expect(a.answered('getAttributes').length).toBe(before);
});

it('shows what it had not brought when another one asks', async () => {
  const [a, b] = [await open('a'), await open('b')];
  await hold(a);
  const { status } = await make(a, 'new');
  await a.tree.setAttributes(status.inode, { mode: 0o600 });
  const seen = await b.tree.lookup(at('new'));
  expect(seen?.status).toMatchObject({ inode: status.inode, mode: 0o600 });
});

it('waits while nobody says whether it still holds', async () => {
  const [a, b] = [await open('a'), await open('b')];
  await hold(a);
  a.isCutOff = true;
  await env.clock.sleep(1000);
  await b.tree.unlink(at('h1')); // b had to wait until the lease was taken
  let answer: TreeEntry | undefined | 'none' = 'none';
  const asked = a.tree.lookup(at('h1')).then((found) => (answer = found));
  await env.clock.sleep(3000);
  expect(answer).toBe('none');
  a.isCutOff = false;
  await asked;
  expect(answer).toBeUndefined();
});

it('would show what is not so if it did not', async () => {
  const [a, b] = [await open('a', { fault: 'never-unsure' }), await open('b')];
  await hold(a);
  a.isCutOff = true;
  await env.clock.sleep(1000);
  await b.tree.unlink(at('h3'));
  expect(await a.tree.lookup(at('h3'))).toBeDefined();
});

it('loses what it could not bring, and says so once', async () => {
  const [a, b] = [await open('a'), await open('b')];
  await hold(a);
  const { status } = await make(a, 'lost');
  a.isCutOff = true;
  await env.clock.sleep(100);
  await make(b, 'lost'); // by its own number
  a.isCutOff = false;
  const code = (work: Promise<unknown>) => work.then(() => 'ok', errorCode);
  expect(await code(a.held.bring(status.inode))).toBe('HF_FENCED');
  expect(await code(a.held.bring(status.inode))).toBe('ok');
  const seen = await a.tree.lookup(at('lost'));
  expect(seen?.status.inode).not.toBe(status.inode);
  expect(await a.tree.getAttributes(status.inode)).toBeUndefined();
});

it('keeps a directory while it brings what is slow to store, for a while', async () => {
  let storedMs = 1.5 * LIMITS.leaseRecallMs;
  const storeContent = async (): Promise<void> => await env.clock.sleep(storedMs);
  const [a, b] = [await open('a', { storeContent }), await open('b')];
  const waitedMs = async (): Promise<number> => {
    await hold(a, `until ${storedMs}, `);
    const beganMs = env.clock.monotonic();
    expect(await b.tree.lookup(at(`until ${storedMs}, 1`))).toBeDefined();
    return env.clock.monotonic() - beganMs;
  };
  const slowMs = await waitedMs();
  expect(slowMs).toBeGreaterThanOrEqual(storedMs);
  expect(slowMs).toBeLessThan(storedMs + 1000);
  await env.clock.sleep(2 * LIMITS.leaseAgainMs);
  storedMs = 3 * LIMITS.leaseReturnMsMax;
  const tooSlowMs = await waitedMs();
  expect(tooSlowMs).toBeGreaterThanOrEqual(LIMITS.leaseReturnMsMax);
  expect(tooSlowMs).toBeLessThan(LIMITS.leaseReturnMsMax + 1000);
});

it('begins anew when its session is over', async () => {
  const [a, b] = [await open('a'), await open('b')];
  await hold(a);
  const { status } = await make(a, 'lost');
  a.isCutOff = true;
  await env.clock.sleep(3 * LIMITS.sessionLeaseMs);
  expect(await b.tree.lookup(at('lost'))).toBeUndefined();
  a.isCutOff = false;
  const code = await a.held.bring(status.inode).then(() => 'ok', errorCode);
  expect(['HF_FENCED', 'HF_SESSION_OVER']).toContain(code);
  await make(a, 'again');
  expect(await b.tree.lookup(at('again'))).toBeDefined();
});

it('keeps what is open, though only this node knows of it', async () => {
  const a = await open('a');
  await hold(a);
  await env.clock.sleep(2 * LIMITS.sessionLeaseMs); // the cell knows by now that nothing is open
  await hold(a, 'again');
  const { status } = await make(a, 'open');
  const { inode } = status;
  await a.opens.hold(inode, { isGuarded: a.held.guards(inode) });
  expect(a.opens.isUndeclared(inode)).toBe(true);
  a.opens.removed(await a.tree.unlink(at('open')));
  await a.held.bringAll();
  expect((await cell.tree.getAttributes(inode))?.linkCount).toBe(0);
  await a.opens.drop(inode);
  await env.clock.sleep(10);
  expect(a.released).toContain(inode);
});

it('declares what is open before others may remove it', async () => {
  const [a, b] = [await open('a'), await open('b')];
  await hold(a);
  await env.clock.sleep(2 * LIMITS.sessionLeaseMs);
  await hold(a, 'again');
  const { inode } = (await a.tree.lookup(at('h1')))!.status;
  await a.opens.hold(inode, { isGuarded: a.held.guards(inode) });
  await b.tree.unlink(at('h1'));
  expect((await a.tree.getAttributes(inode))?.linkCount).toBe(0);
});

it('ends the sessions of its earlier life', async () => {
  const first = await open('a');
  await hold(first);
  first.isCutOff = true; // it was killed
  const again = await open('a');
  const beganMs = env.clock.monotonic();
  expect(await again.tree.lookup(at('h1'))).toBeDefined();
  expect(env.clock.monotonic() - beganMs).toBeLessThan(1000);
});
