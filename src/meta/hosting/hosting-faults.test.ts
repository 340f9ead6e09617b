/**
 * Aim: what goes wrong between client, steward and log never makes an operation happen twice or an
 * acknowledged one vanish, and every question ends. Method: hosts in one process on virtual time,
 * with the network, the log or one node failing; a network of liars for the client alone.
 */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { changedLog } from '../../../test/suites/changed-log.ts';
import { HostingBed, nodeOf, told, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, HoldfastError, type NodeId, type ObjectId, utf8 } from '../../base/index.ts';
import { type FencedLog, MemoryRegistry } from '../../log/index.ts';
import type { CellFault } from '../cells/cell-faults.ts';
import { encodeValue } from '../remote/wire-value.ts';
import { type Namespace, ROOT_INODE, spaceOfVolume } from '../index.ts';
import { encodeMap, loneCell, mapKey, withSplit } from './cell-map.ts';
import { HOSTED_NAMES, HOSTED_TABLES } from './hosted-tables.ts';
import { Hosting } from './hosting.ts';
import { encodeReply, type Reply } from './hosting-wire.ts';
import { MESSAGE_NAMES } from './message-wire.ts';

const SPACE = spaceOfVolume(VOLUME);

let bed: HostingBed;

async function openBed(count: number, options = {}): Promise<void> {
  bed = await HostingBed.open(count, options);
  await bed.pin(SPACE, 1, 2, 3);
  await bed.until(() => bed.stewards(SPACE).length > 0);
}

function idOf(number: number): ObjectId {
  return number.toString(16).padStart(32, '0') as ObjectId;
}

async function put(namespace: Namespace, number: number): Promise<void> {
  await namespace.commitObject({
    inode: await namespace.allocateInodes(1),
    createdAtMs: 1,
    objectId: idOf(number),
    sizeBytes: 0,
    schemeNumbers: [3],
    attributes: utf8('sealed'),
    addressKey: new Uint8Array(32).fill(number),
    extents: [],
    mayReplace: false,
    entry: { directory: ROOT_INODE, name: utf8(`object-${number}`) },
  });
}

/** Puts objects of its own numbers until told to stop; those that were acknowledged. */
function writer(namespace: Namespace, first: number) {
  const done: number[] = [];
  const failed: unknown[] = [];
  let isOver = false;
  const running = (async () => {
    for (let number = first; !isOver; number++) {
      const error = await put(namespace, number).then(
        () => done.push(number) && undefined,
        (thrown: unknown) => errorCode(thrown) ?? thrown,
      );
      if (error !== undefined) failed.push(error);
      await bed.env.clock.sleep(50);
    }
  })();
  const stop = async () => {
    isOver = true;
    await running;
  };
  return { done, failed, stop };
}

async function expectAllThere(numbers: readonly number[]): Promise<void> {
  const { namespace } = bed.host(3);
  for (const number of numbers) expect(await namespace.object(idOf(number))).toBeDefined();
}

describe('with hosts that fail', () => {
  afterEach(async () => {
    await bed[Symbol.asyncDispose]();
  });

  /** Writers while the log loses messages: what went wrong, and which objects are not there. */
  async function storm(cell?: CellFault): Promise<{ failed: unknown[]; missing: number[] }> {
    const logFaults = { lostReplyPercent: 0, lostRequestPercent: 0 };
    await openBed(3, { logFaults, faults: { cell } });
    Object.assign(logFaults, { lostReplyPercent: 4, lostRequestPercent: 2 });
    const writers = [1, 2, 3].map((number) => writer(bed.host(number).namespace, number * 1000));
    await bed.env.clock.sleep(10_000);
    Object.assign(logFaults, { lostReplyPercent: 0, lostRequestPercent: 0 });
    for (const { stop } of writers) await stop();
    const done = writers.flatMap((each) => each.done);
    expect(done.length).toBeGreaterThan(20);
    const found = await Promise.all(
      done.map((number) => bed.host(3).namespace.object(idOf(number))),
    );
    const missing = done.filter((_, index) => found[index] === undefined);
    return { failed: writers.flatMap(({ failed }) => failed), missing };
  }

  it('an operation is done once although the log loses messages', async () => {
    // No put finds what it made itself: HF_EXISTS would be an operation that was done twice.
    expect(await storm()).toEqual({ failed: [], missing: [] });
  });

  it('it is noticed when answers are not kept, or given before they are known', async () => {
    const { failed } = await storm('no-retry-row');
    expect(failed.length).toBeGreaterThan(0);
    await bed[Symbol.asyncDispose]();
    const { missing } = await storm('ack-on-unknown');
    expect(missing.length).toBeGreaterThan(0);
  });

  it('a request of another shape breaks no steward', async () => {
    await openBed(2);
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.boolean(),
        fc.nat(),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.constantFrom(SPACE, 'references', ''),
        fc.uint8Array({ maxLength: 40 }),
        fc.constant(undefined),
        fc.array(tie('any'), { maxLength: 4 }),
        fc.record(
          { space: fc.constant(SPACE), cell: fc.constant(SPACE), args: tie('any'), x: tie('any') },
          { requiredKeys: [] },
        ),
      ),
    })).any;
    const call = fc.record({
      space: fc.constantFrom(SPACE, 'references'),
      cell: fc.constant(SPACE),
      slot: fc.option(fc.nat(5000), { nil: undefined }),
      within: fc.option(fc.record({ from: fc.nat(5000), to: fc.nat(5000) }), { nil: undefined }),
      retry: fc.constant(undefined),
      args: fc.array(value, { maxLength: 3 }),
    });
    const methods = [
      ...HOSTED_NAMES.flatMap((name) =>
        Object.keys(HOSTED_TABLES[name].methods).map((method) => `${name}.${method}`),
      ),
      ...MESSAGE_NAMES.map((name) => `message.${name}`),
      'ping',
      'view',
      'take',
      'sync',
    ];
    const request = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      value.map(encodeValue),
      call.map(encodeValue),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...methods), request, async (method, arg) => {
        const asked = bed.network(2).call(nodeOf(1), `cells/${method}`, arg, { deadlineMs: 5000 });
        expect(await told(asked)).not.toBe('HF_INTERNAL');
      }),
      { numRuns: 300 },
    );
    await put(bed.host(2).namespace, 1);
  });

  it('a steward that nobody hears is followed by the next, and loses nothing', async () => {
    await openBed(4);
    const near = writer(bed.host(1).namespace, 1000);
    const far = writer(bed.host(4).namespace, 4000);
    await bed.until(() => near.done.length > 10 && far.done.length > 10);
    bed.part(1);
    const before = far.done.length;
    const tookMs = await bed.until(() => far.done.length > before + 1);
    expect(tookMs).toBeLessThan(6000);
    expect(bed.stewards(SPACE)).toContain(2);
    await bed.env.clock.sleep(8000);
    bed.net.heal();
    const beforeHealing = near.done.length;
    await bed.until(() => near.done.length > beforeHealing);
    await near.stop();
    await far.stop();
    await expectAllThere([...near.done, ...far.done]);
    await bed.until(() => bed.stewards(SPACE).length === 1);
  });

  it('a steward that does not reach the log leaves its cell to the next', async () => {
    await openBed(4);
    const far = writer(bed.host(4).namespace, 4000);
    await bed.until(() => far.done.length > 10);
    bed.cutOff.add(1);
    const before = far.done.length;
    expect(await bed.until(() => far.done.length > before + 1)).toBeLessThan(7000);
    bed.cutOff.delete(1);
    await bed.until(() => bed.stewards(SPACE)[0] === 1);
    await far.stop();
    await expectAllThere(far.done);
  });

  it('what takes long at its own node is not asked twice', async () => {
    let count = 0;
    let isSlow = false;
    await openBed(3, {
      wrapLog: (log: FencedLog, number: number) =>
        changedLog(log, {
          async confirm(cell, epoch) {
            if (isSlow && cell === SPACE && number === 1) {
              count += 1;
              await bed.env.clock.sleep(3000);
            }
            return await log.confirm(cell, epoch);
          },
        }),
    });
    await bed.env.clock.sleep(3000);
    isSlow = true;
    const startMs = bed.env.clock.monotonic();
    await bed.host(1).namespace.usage();
    expect(bed.env.clock.monotonic() - startMs).toBeLessThan(3500);
    expect(count).toBeLessThanOrEqual(2); // the steward may have looked for sessions
  });

  it('a new run of a node lets the cells forget what they kept for the one before', async () => {
    await openBed(4);
    for (let number = 0; number < 20; number++) await put(bed.host(4).namespace, number);
    const countKept = () => {
      const cell = bed.host(1).hosting.carrier!.get(SPACE)!.steward!.cell;
      return cell.execute((rows) => {
        const from = Uint8Array.of(0, 0, 'R'.charCodeAt(0));
        return rows.range({ from, to: Uint8Array.of(0, 0, 'R'.charCodeAt(0) + 1) }).length;
      });
    };
    const before = await countKept();
    expect(before).toBeGreaterThan(0);
    await bed.kill(4);
    const { namespace } = await bed.start(4);
    await put(namespace, 100);
    await bed.env.clock.sleep(20_000);
    // A request of the old run may be under way still: it must not be done again.
    expect(await countKept()).toBeGreaterThan(before);
    await bed.env.clock.sleep(60_000);
    expect(await countKept()).toBeLessThanOrEqual(before);
    await bed.kill(4);
    await put((await bed.start(4)).namespace, 101);
    await bed.env.clock.sleep(80_000);
    expect(await countKept()).toBeLessThanOrEqual(before);
  });
});

describe('a client among nodes that know nothing', () => {
  /** @param answer of each node. */
  async function ask(
    answer: (node: NodeId) => Reply,
  ): Promise<{ outcome: unknown; calls: number }> {
    const env = virtualEnv(1);
    const registry = new MemoryRegistry();
    const map = withSplit(loneCell(SPACE, [1, 2, 3].map(nodeOf)), SPACE, [nodeOf(2)]);
    await registry.compareAndSet(mapKey(SPACE), 0, encodeMap(map));
    let calls = 0;
    const network = {
      links: () => [],
      members: () => [],
      open: () => Promise.reject(new HoldfastError('HF_UNAVAILABLE')),
      call: async (node: NodeId, method: string) => {
        calls += 1;
        await env.clock.sleep(1);
        return method === 'cells/probe' ? new Uint8Array() : encodeReply(answer(node));
      },
    } as never;
    const parts = { env, self: nodeOf(9), registry, network, home: () => nodeOf(1) };
    const hosting = await Hosting.open(parts);
    const outcome = await told(hosting.namespace(VOLUME).allocateInodes(1));
    expect(env.clock.monotonic()).toBeLessThan(11_000);
    return { outcome, calls };
  }

  /** Hosting of one that carries nothing, over nodes that answer so. */
  async function among(answer: (node: NodeId, method: string) => Promise<Reply>) {
    const env = virtualEnv(1);
    const registry = new MemoryRegistry();
    const map = loneCell(SPACE, [1, 2, 3].map(nodeOf));
    await registry.compareAndSet(mapKey(SPACE), 0, encodeMap(map));
    const network = {
      links: () => [],
      members: () => [],
      open: () => Promise.reject(new HoldfastError('HF_UNAVAILABLE')),
      call: async (node: NodeId, method: string) => {
        await env.clock.sleep(1);
        const reply = await answer(node, method);
        return method === 'cells/probe' ? new Uint8Array() : encodeReply(reply);
      },
    } as never;
    const hosting = await Hosting.open({
      env,
      self: nodeOf(9),
      registry,
      network,
      home: () => nodeOf(1),
    });
    return { env, namespace: hosting.namespace(VOLUME) };
  }

  it('goes on to the next when one is not known here yet', async () => {
    const { namespace } = await among(async (node) => {
      if (node === nodeOf(1)) throw new HoldfastError('HF_NOT_FOUND', 'nobody knows the node');
      return { kind: 'answer', value: 7n };
    });
    expect(await told(namespace.allocateInodes(1))).toBe(7n);
  });

  it('a crowd behind a space that nobody serves is told in time', async () => {
    const { env, namespace } = await among(async () => ({ kind: 'later', isInDoubt: false }));
    const crowd = Array.from({ length: 300 }, () => told(namespace.allocateInodes(1)));
    expect(new Set(await Promise.all(crowd))).toEqual(new Set(['HF_UNAVAILABLE']));
    expect(env.clock.monotonic()).toBeLessThan(25_000);
  });

  it('gives up when they send it round in circles', async () => {
    const next = (node: NodeId) => nodeOf(node === nodeOf(1) ? 2 : node === nodeOf(2) ? 3 : 1);
    const { outcome, calls } = await ask((node) => ({ kind: 'elsewhere', steward: next(node) }));
    expect(outcome).toBe('HF_UNAVAILABLE');
    expect(calls).toBeLessThan(500);
  });

  it('gives up when the slot is nobody’s', async () => {
    const { outcome, calls } = await ask(() => ({ kind: 'moved' }));
    expect(outcome).toBe('HF_UNAVAILABLE');
    expect(calls).toBeLessThan(200);
  });

  it('says that it is in doubt when it may have been done', async () => {
    const { outcome } = await ask(() => ({ kind: 'later', isInDoubt: true }));
    expect(outcome).toBe('HF_UNKNOWN_OUTCOME');
  });

  it('takes nonsense for no answer', async () => {
    const { outcome } = await ask(() => ({ kind: 'answer', value: 'an inode' }));
    expect(outcome).toBe('HF_UNKNOWN_OUTCOME');
  });
});
