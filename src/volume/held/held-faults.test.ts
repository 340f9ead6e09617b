/**
 * Aim: faults that a review of held directories looked for. Method: nodes over one cell, in virtual
 * time, with lost answers, cut-offs, and doors that fail.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  type HeldNode,
  type HeldNodeOptions,
  openCell,
  openHeldNode,
} from '../../../test/suites/held-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, HoldfastError, LIMITS, utf8 } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type Handles,
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

/** The cell, with handles that do something before they ask. */
function through(before: (name: keyof Handles) => void): VolumeCell {
  const handles = Object.fromEntries(
    Object.entries(cell.handles).map(([name, method]) => [
      name,
      async (...args: never[]) => {
        before(name as keyof Handles);
        return await (method as (...all: never[]) => Promise<unknown>)(...args);
      },
    ]),
  ) as unknown as Handles;
  return { handles, tree: cell.tree, namespace: cell.namespace } as VolumeCell;
}

function at(name: string, directory: Inode = ROOT_INODE): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

async function make(
  { tree }: HeldNode,
  name: string,
  directory = ROOT_INODE,
  inode?: Inode,
): Promise<TreeEntry> {
  return await tree.makeNode({
    ...OWNED,
    type: 'file',
    place: at(name, directory),
    ...(inode !== undefined && { inode }),
  });
}

async function hold(node: HeldNode): Promise<void> {
  for (const name of ['h1', 'h2', 'h3']) await make(node, name).catch(() => undefined);
  await node.held.bringAll();
  expect(node.held.guards((await node.tree.lookup(at('h1')))!.status.inode)).toBe(true);
}

const code = (work: Promise<unknown>) => work.then(() => 'ok', errorCode);

it('R1 keeps what is in a new directory whose lease comes with the next batch', async () => {
  const a = await open('a');
  await hold(a);
  const first = await cell.namespace.allocateInodes(600, { inode: ROOT_INODE });
  let next = first;
  a.isCutOff = true; // for a second: the queue grows
  await make(a, 'flight', ROOT_INODE, next++);
  await env.clock.sleep(600);
  for (let i = 0; i < LIMITS.batchStepsMax - 1; i++) await make(a, `f${i}`, ROOT_INODE, next++);
  const directory = next++;
  const salt = utf8('salt');
  await a.tree.makeDirectory({ ...OWNED, place: at('d'), salt, inode: directory });
  for (let i = 0; i < 10; i++) await make(a, `g${i}`, directory, next++);
  a.isCutOff = false;
  await a.held.bringAll();
  expect(await code(a.held.bring(next - 1n))).toBe('ok');
  const b = await open('b');
  expect(await b.tree.listAttributes({ directory })).toHaveLength(10);
});

it('R2 does nothing twice when a session ends while an answer is missing', async () => {
  const [a, b] = [await open('a'), await open('b')];
  await hold(a);
  await make(a, 'x');
  const salt = utf8('salt');
  const made = await a.tree.makeDirectory({ ...OWNED, place: at('d'), salt });
  await a.held.bringAll();
  a.onBatch = (when) => {
    if (when !== 'after') return;
    a.isCutOff = true;
    a.onBatch = () => {};
    throw new HoldfastError('HF_UNKNOWN_OUTCOME');
  };
  await a.tree.unlink(at('x'));
  await env.clock.sleep(3 * LIMITS.sessionLeaseMs);
  expect(await b.tree.lookup(at('x')), 'it was executed').toBeUndefined();
  await make(b, 'x');
  let away = 6; // its cell is away for a moment more
  a.onBatch = (when) => {
    if (when === 'before' && away-- > 0) throw new HoldfastError('HF_UNAVAILABLE');
  };
  a.isCutOff = false;
  // The user goes on at once.
  const going = (async () => {
    for (let i = 0; i < 50; i++) {
      await code(make(a, `n${i}`, made.status.inode));
      await env.clock.sleep(100);
    }
  })();
  await going;
  expect(await code(a.held.bringAll()), 'the removal may have been lost').toBe('HF_SESSION_OVER');
  expect(await code(a.held.bringAll()), 'told once').toBe('ok');
  expect(await b.tree.lookup(at('x')), 'of b').toBeDefined();
});

it('R3 goes on when a session cannot be opened at once', async () => {
  let failures = 0;
  let isFailing = false;
  const a = await open('a', {
    cell: through((name) => {
      if (name !== 'openSession' || !isFailing || failures >= 3) return;
      failures += 1;
      throw new HoldfastError('HF_UNAVAILABLE');
    }),
  });
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', note);
  await hold(a);
  isFailing = true;
  a.isCutOff = true;
  await env.clock.sleep(3 * LIMITS.sessionLeaseMs);
  a.isCutOff = false;
  await env.clock.sleep(1000);
  let isMade = false;
  for (let i = 0; i < 4; i++) {
    void code(make(a, `again${i}`)).then(() => (isMade = true));
  }
  await env.clock.sleep(40_000);
  process.off('unhandledRejection', note);
  expect(failures).toBeGreaterThan(0);
  expect(unhandled).toEqual([]);
  expect(isMade).toBe(true);
});

it('R4 tells that the session was over though the next one is not opened at once', async () => {
  let failures = 0;
  let failing: keyof Handles | undefined;
  for (const name of ['openSession', 'open'] as const) {
    const a = await open(`a ${name}`, {
      cell: through((asked) => {
        if (asked !== failing || failures >= 1) return;
        failures += 1;
        throw new HoldfastError('HF_UNAVAILABLE');
      }),
    });
    failures = 0;
    let told = 0;
    a.opens.watch({ sessionOver: () => (told += 1) });
    const { status } = await make(a, `open ${name}`);
    await a.held.bringAll();
    await a.opens.hold(status.inode);
    failing = name;
    a.isCutOff = true;
    await env.clock.sleep(3 * LIMITS.sessionLeaseMs);
    a.isCutOff = false;
    await env.clock.sleep(LIMITS.sessionLeaseMs);
    expect(failures, name).toBe(1);
    expect(told, name).toBe(1);
    // What is open is declared in the new session.
    await cell.tree.unlink(at(`open ${name}`));
    expect((await cell.tree.getAttributes(status.inode))?.linkCount, name).toBe(0);
    failing = undefined;
  }
});

it('R5 begins one session when several meet that it is over', async () => {
  let opened = 0;
  const a = await open('a', {
    cell: through((name) => {
      if (name === 'openSession') opened += 1;
    }),
  });
  await hold(a);
  await make(a, 'lost');
  a.isCutOff = true;
  await env.clock.sleep(3 * LIMITS.sessionLeaseMs);
  opened = 0;
  a.isCutOff = false;
  await env.clock.sleep(5000);
  expect(opened).toBe(1);
});

it('R6 commits while a directory goes back', async () => {
  // As over a network: a batch is on its way for a while.
  const runBatch: typeof cell.tree.runBatch = async (batch) => {
    await env.clock.sleep(20);
    return await cell.tree.runBatch(batch);
  };
  const parts = { handles: cell.handles, namespace: cell.namespace };
  const far = { ...parts, tree: { ...cell.tree, runBatch } } as VolumeCell;
  const [a, b] = [await open('a', { cell: far }), await open('b')];
  await hold(a);
  const codes = new Set<string | undefined>();
  let isOver = false;
  const writers = Array.from({ length: 8 }, async (_, n) => {
    const { status } = await make(a, `f${n}`);
    while (!isOver) {
      const commit = {
        inode: status.inode,
        extents: [],
        schemeNumbers: [],
        sizeBytes: 0,
        modifiedNs: 5n,
        baseChange: 0n,
      };
      codes.add(await code(a.tree.commitExtents(commit)));
      await env.clock.sleep(n + 1);
    }
  });
  await env.clock.sleep(300);
  expect(await b.tree.lookup(at('f1'))).toBeDefined();
  isOver = true;
  await Promise.all(writers);
  expect([...codes]).toEqual(['ok']);
});

it('R7 counts right when a file is cut while its mode is changed', async () => {
  const a = await open('a');
  await hold(a);
  const { status } = await make(a, 'f');
  const { inode } = status;
  const commit = async (sizeBytes: number) => {
    const { changeCount: baseChange } = (await a.tree.getAttributes(inode))!;
    const inline = { sealed: new Uint8Array(sizeBytes + 16), lengthBytes: sizeBytes };
    const base = { inode, extents: [], schemeNumbers: [], inline, modifiedNs: 5n };
    return await code(a.tree.commitExtents({ ...base, sizeBytes, baseChange, isOnlyOnBase: true }));
  };
  expect(await commit(100)).toBe('ok');
  const cut = a.tree.setAttributes(inode, { sizeBytes: 10 });
  await env.clock.sleep(0);
  await a.tree.setAttributes(inode, { mode: 0o600 });
  await cut;
  await a.held.bringAll();
  const there = await cell.tree.getAttributes(inode);
  expect(await a.tree.getAttributes(inode)).toMatchObject({
    sizeBytes: 10,
    mode: 0o600,
    changeCount: there!.changeCount,
  });
  expect(await commit(100)).toBe('ok');
});

it('R8 answers about an open file without a name that is gone', async () => {
  let questions = 0;
  const getAttributes: typeof cell.tree.getAttributes = async (...args) => {
    questions += 1;
    if (questions > 10_000) throw new Error('it asks for ever');
    return await cell.tree.getAttributes(...args);
  };
  const parts = { handles: cell.handles, namespace: cell.namespace };
  const asking = { ...parts, tree: { ...cell.tree, getAttributes } } as VolumeCell;
  const a = await open('a', { cell: asking });
  await hold(a);
  const { inode } = (await a.tree.lookup(at('h1')))!.status;
  await a.opens.hold(inode);
  a.opens.removed(await a.tree.unlink(at('h1')));
  await a.tree.setAttributes(inode, { mode: 0o600 });
  await a.held.bringAll();
  a.isCutOff = true;
  await env.clock.sleep(3 * LIMITS.sessionLeaseMs);
  a.isCutOff = false;
  await env.clock.sleep(2000);
  for (const name of ['i1', 'i2', 'i3', 'i4']) await make(a, name);
  await env.clock.sleep(5000);
  let answer: unknown;
  void code(a.tree.setAttributes(inode, { mode: 0o644 })).then((told) => (answer = told));
  await env.clock.sleep(1000);
  expect(answer).toBe('HF_NOT_FOUND');
});

it('D1 ends in bounded time when nobody answers, also while a directory is recalled', async () => {
  for (const isRecalled of [false, true]) {
    let isAway = false;
    const away = <Doors extends object>(doors: Doors): Doors =>
      Object.fromEntries(
        Object.entries(doors).map(([name, method]) => [
          name,
          async (...args: never[]) => {
            await env.clock.sleep(1);
            if (isAway) throw new HoldfastError('HF_UNAVAILABLE');
            return await (method as (...all: never[]) => Promise<unknown>)(...args);
          },
        ]),
      ) as Doors;
    const parts = { handles: away(cell.handles), tree: away(cell.tree) };
    const a = await openHeldNode({
      env,
      cell: { ...parts, namespace: cell.namespace } as VolumeCell,
      node: `a${isRecalled}`,
    });
    for (let i = 0; i < 20; i++) await make(a, `p${isRecalled}${i}`);
    await a.held.bringAll();
    for (let i = 0; i < 20; i++) await make(a, `q${isRecalled}${i}`);
    const b = await open(`b${isRecalled}`);
    const asked = isRecalled ? b.tree.lookup(at('q1')) : undefined;
    await env.clock.sleep(isRecalled ? 200 : 0);
    isAway = true;
    const beganMs = env.clock.monotonic();
    await a[Symbol.asyncDispose]();
    expect(env.clock.monotonic() - beganMs).toBeLessThan(60_000);
    await asked;
    await env.clock.sleep(100_000);
  }
});

it('D2 brings everything when it ends while it works and is recalled', async () => {
  const b = await open('b');
  const a = await openHeldNode({ env, cell, node: 'a' });
  await hold(a);
  const salt = utf8('salt');
  const { status } = await a.tree.makeDirectory({ ...OWNED, place: at('d'), salt });
  for (let i = 0; i < 600; i++) await make(a, `f${i}`, i % 2 ? ROOT_INODE : status.inode);
  const asked = b.tree.lookup(at('f1'));
  await env.clock.sleep(2);
  await a[Symbol.asyncDispose]();
  expect(await asked).toBeDefined();
  for (let i = 0; i < 600; i++) {
    expect(await b.tree.lookup(at(`f${i}`, i % 2 ? ROOT_INODE : status.inode))).toBeDefined();
  }
});
