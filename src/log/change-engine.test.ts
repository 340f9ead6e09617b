/**
 * Aim: the metadata moves from any engine to any engine; wherever that is broken off, at most one
 * generation takes changes, and nothing is lost when it is begun again. Method: a process that dies
 * at its first step, its second, ..., before the step or just after; then a look at both
 * generations, work on the old one if that is not sealed, and the change again. And stewards that
 * work on while the engine is changed, over a bad network, with checks left out.
 */
import { describe, expect, it } from 'vitest';
import { MemoryMirror } from '../../test/suites/memory-mirror.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, fromUtf8, utf8 } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import {
  changeEngine,
  EtcdDraft,
  EtcdLog,
  EtcdRegistry,
  type FencedLog,
  type GenerationDraft,
  LocalDraft,
  LocalLog,
  type LogEntry,
  LogRegistry,
  MemoryDraft,
  MemoryGeneration,
  MemoryEtcd,
  type MemoryEtcdBugs,
  type SealableRegistry,
  sealedTo,
} from './index.ts';

const CELLS = ['cell-a', 'cell-b', 'cell-c'];
const metadataKey = new Uint8Array(32).fill(1);

/** Dies at its n-th step. */
class Process {
  #stepsLeft: number;
  readonly #dies: 'before' | 'after';
  isDead = false;

  constructor(steps = Number.POSITIVE_INFINITY, dies: 'before' | 'after' = 'before') {
    this.#stepsLeft = steps;
    this.#dies = dies;
  }

  /** The same object, whose methods are steps. */
  taking<Target extends object>(target: Target, steps: readonly (keyof Target)[]): Target {
    return new Proxy(target, {
      get: (_, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        if (!steps.includes(name as keyof Target)) return value.bind(target);
        return (...args: unknown[]) => this.#step(() => value.apply(target, args));
      },
    });
  }

  async #step(work: () => unknown): Promise<unknown> {
    if (this.isDead || --this.#stepsLeft < 0) return this.#die();
    if (this.#stepsLeft > 0 || this.#dies === 'before') return await work();
    await work();
    return this.#die();
  }

  #die(): never {
    this.isDead = true;
    throw new Error('the process is dead');
  }
}

interface Generation {
  readonly log: FencedLog;
  readonly registry: SealableRegistry;
}

/** What outlives processes. */
class World {
  readonly env: Env;
  readonly mirror = new MemoryMirror();
  readonly parts = new MemoryMirror();
  readonly etcd: MemoryEtcd;
  readonly #memory = new Map<number, MemoryGeneration>();

  constructor(env = virtualEnv(1), etcd = new MemoryEtcd({ env })) {
    this.env = env;
    this.etcd = etcd;
  }

  memory(generation: number): MemoryGeneration {
    let draft = this.#memory.get(generation);
    if (!draft) this.#memory.set(generation, (draft = new MemoryGeneration({ generation })));
    draft.isOpen ||= generation === 1;
    return draft;
  }
}

interface Engine {
  open(world: World, generation: number, process: Process): Promise<Generation>;
  draft(world: World, generation: number, process: Process): GenerationDraft;
}

function localOptions({ mirror, env }: World, generation: number, process: Process) {
  const reached = process.taking(mirror, ['put', 'get', 'remove']);
  return { mirror: reached, metadataKey, generation, env };
}

function etcdOptions({ etcd, parts, env }: World, generation: number, process: Process) {
  const kv = process.taking(etcd.connect(), ['transact']);
  const prefix = `test/${generation}/`;
  const reached = process.taking(parts, ['put', 'get', 'remove']);
  return { kv, prefix, parts: reached, metadataKey, generation, env, patienceMs: 500 };
}

const ENGINES: Record<string, Engine> = {
  memory: {
    async open(world, generation, process) {
      const { isOpen, log, registry } = world.memory(generation);
      if (!isOpen) throw Object.assign(new Error(), { code: 'HF_UNAVAILABLE' });
      return { log, registry: process.taking(registry, ['seal', 'list']) };
    },
    draft: (world, generation, process) =>
      process.taking(new MemoryDraft(world.memory(generation)), ['start', 'copyCell', 'open']),
  },
  local: {
    async open(world, generation, process) {
      const log = await LocalLog.open(localOptions(world, generation, process));
      return { log, registry: await LogRegistry.open({ log, report: world.env.log }) };
    },
    draft: (world, generation, process) => new LocalDraft(localOptions(world, generation, process)),
  },
  etcd: {
    async open(world, generation, process) {
      const options = etcdOptions(world, generation, process);
      const registry = new EtcdRegistry(options);
      await registry.get('is it open?');
      return { log: new EtcdLog(options), registry };
    },
    draft: (world, generation, process) => new EtcdDraft(etcdOptions(world, generation, process)),
  },
};

async function* partsOf(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield utf8(text);
}

async function* entriesOf(...texts: readonly string[]): AsyncGenerator<LogEntry> {
  for (const [index, text] of texts.entries()) {
    yield { lsn: index + 1, epoch: 1, bytes: utf8(text) };
  }
}

/** The content of a generation that must be the same in the next one. */
async function contentOf({ log, registry }: Generation): Promise<unknown> {
  const cells = [];
  for (const cell of CELLS) {
    const { lsn } = await log.head(cell);
    const snapshot = await log.loadSnapshot(cell);
    const parts = snapshot ? await Array.fromAsync(snapshot.parts, fromUtf8) : [];
    const read = log.read(cell, (snapshot?.lsn ?? 0) + 1);
    const entries = await Array.fromAsync(read, (each) => `${each.lsn} ${fromUtf8(each.bytes)}`);
    cells.push({ cell, lsn, at: snapshot?.lsn, parts, entries });
  }
  const rows = (await registry.list('')).filter(({ key }) => key !== 'sealed');
  return { cells, rows: rows.map(({ key, value }) => `${key}=${fromUtf8(value)}`) };
}

/** Acknowledged work of a steward and of the registry. */
async function work({ log, registry }: Generation, text: string): Promise<void> {
  const { epoch, lsn } = await log.seize(CELLS[1]!);
  expect(await log.append(CELLS[1]!, { epoch, lsn: lsn + 1 }, utf8(text))).toBe('ok');
  const { version } = (await registry.get('cells'))!;
  expect(await registry.compareAndSet('cells', version, utf8(text))).toBeGreaterThan(version);
}

/** A cell with a snapshot and entries after it, one without a snapshot, one without anything. */
async function fill(generation: Generation): Promise<void> {
  const { log, registry } = generation;
  const cell = CELLS[0]!;
  const { epoch } = await log.seize(cell);
  for (const lsn of [1, 2, 3, 4]) await log.append(cell, { epoch, lsn }, utf8(`e${lsn}`));
  await log.saveSnapshot(cell, { epoch, lsn: 2 }, partsOf('state', 'after 2'));
  await log.trim(cell, 2);
  await log.saveSnapshot(cell, { epoch, lsn: 3 }, partsOf('and e3'), { extends: 2 });
  await registry.compareAndSet('cells', 0, utf8('v1'));
  const version = (await registry.compareAndSet('gone', 0, utf8('x')))!;
  await registry.compareAndSet('gone', version, undefined);
  await registry.compareAndSet('node/1', 0, utf8('a node'));
  await work(generation, 'first');
}

/** No change goes through. */
async function expectSealed({ log, registry }: Generation): Promise<void> {
  expect(await log.seize(CELLS[0]!).catch(errorCode)).toBe('HF_FENCED');
  const { version } = (await registry.get('cells'))!;
  const change = registry.compareAndSet('cells', version, utf8('late'));
  expect(await change.catch(errorCode)).toBe('HF_FENCED');
  const other = registry.seal({ generation: 2, where: 'elsewhere' });
  expect(await other.catch(errorCode)).toBe('HF_FENCED');
}

async function change(world: World, [from, to]: [Engine, Engine], process: Process): Promise<void> {
  const old = await from.open(world, 1, process);
  const cells = async () => CELLS;
  await changeEngine({ from: old, to: to.draft(world, 2, process), where: 'there', cells });
}

async function versionMax({ registry }: Generation): Promise<number> {
  return Math.max(...(await registry.list('')).map(({ version }) => version));
}

/** @returns whether the process died before it was done. */
async function changeWithCrash(pair: [Engine, Engine], process: Process): Promise<boolean> {
  const world = new World();
  const [from, to] = pair;
  await fill(await from.open(world, 1, new Process()));
  const crash = await change(world, pair, process).catch((error: unknown) => error);
  if (!process.isDead) expect(crash).toBeUndefined();

  const old = await from.open(world, 1, new Process()).catch(errorCode);
  const next = await to.open(world, 2, new Process()).catch(errorCode);
  if (typeof next === 'string') expect(next).toBe('HF_UNAVAILABLE');
  if (typeof old !== 'object') {
    // Local to local: it is not opened once the next one is open.
    expect([old, typeof next]).toEqual(['HF_FENCED', 'object']);
    return process.isDead;
  }
  const isSealed = await sealedTo(old.registry);
  if (isSealed) {
    expect(isSealed).toEqual({ generation: 2, where: 'there' });
    await expectSealed(old);
  }
  if (!isSealed) await work(old, 'second');
  expect(typeof next === 'object' && !isSealed).toBe(false);
  const content = await contentOf(old);
  await change(world, pair, new Process());
  expect(await change(world, pair, new Process()).catch(errorCode)).toBeOneOf(
    from === to && from === ENGINES['local'] ? ['HF_FENCED'] : [undefined],
  );
  await checkNext(await to.open(world, 2, new Process()), { old, content });
  return process.isDead;
}

async function checkNext(
  next: Generation,
  { old, content }: { old: Generation; content: unknown },
): Promise<void> {
  expect(await contentOf(next)).toEqual(content);
  expect(await sealedTo(next.registry)).toBeUndefined();
  const before = await versionMax(old);
  expect(await next.registry.compareAndSet('gone', 0, utf8('again'))).toBeGreaterThan(before);
  for (const cell of CELLS) {
    const { epoch, lsn } = await old.log.head(cell);
    const seized = await next.log.seize(cell);
    expect(seized.epoch).toBeGreaterThan(epoch);
    expect(seized.lsn).toBe(lsn);
  }
  await work(next, 'third');
}

describe('a change of the engine, broken off at each step,', () => {
  for (const [fromName, from] of Object.entries(ENGINES)) {
    for (const [toName, to] of Object.entries(ENGINES)) {
      it(`from ${fromName} to ${toName}`, async () => {
        for (const dies of ['before', 'after'] as const) {
          let steps = 0;
          while (await changeWithCrash([from, to], new Process(steps, dies))) steps += 1;
          expect(steps).toBeGreaterThan(4);
        }
      });
    }
  }
});

/** What was acknowledged before the engine was changed. */
interface Acknowledged {
  readonly entries: Map<number, string>;
  count: number;
}

/** Appends and counts in the registry until it finds the generation sealed. */
async function workUntilSealed(
  { log, registry }: Generation,
  env: Env,
  { acknowledged, name }: { acknowledged: Acknowledged; name: string },
): Promise<void> {
  const cell = CELLS[0]!;
  for (let round = 0; !(await sealedTo(registry).catch(() => undefined)); round++) {
    expect(round).toBeLessThan(1000);
    const seized = await log.seize(cell).catch(() => undefined);
    for (let lsn = (seized?.lsn ?? 0) + 1; seized && lsn < seized.lsn + 20; lsn++) {
      const text = `${lsn} by ${name} in ${seized.epoch}`;
      const position = { epoch: seized.epoch, lsn };
      if ((await log.append(cell, position, utf8(text)).catch(errorCode)) !== 'ok') break;
      acknowledged.entries.set(lsn, text);
      await env.clock.sleep(env.random.below(4));
    }
    const row = await registry.get('count').catch(() => undefined);
    const next = Number(row ? fromUtf8(row.value) : 0) + 1;
    const set = registry.compareAndSet('count', row?.version ?? 0, utf8(`${next}`));
    if (await set.catch(() => undefined)) acknowledged.count = Math.max(acknowledged.count, next);
  }
}

/** Two stewards, and two who change the engine, over a bad network. */
async function restlessRun(seed: number, bugs: MemoryEtcdBugs): Promise<void> {
  const env = virtualEnv(seed);
  const bad = {
    delayMsMax: 5,
    lostRequestPercent: 2,
    lostReplyPercent: 2,
    latePercent: 2,
    lateMsMax: 200,
  };
  const faults: Record<string, number> = { ...bad };
  const world = new World(env, new MemoryEtcd({ env, faults, bugs }));
  const open = (generation: number) => ENGINES['etcd']!.open(world, generation, new Process());
  const acknowledged: Acknowledged = { entries: new Map(), count: 0 };
  const stewards = ['a', 'b'].map(async (name) => {
    const options = etcdOptions(world, 1, new Process());
    const generation = { log: new EtcdLog(options), registry: new EtcdRegistry(options) };
    await workUntilSealed(generation, env, { acknowledged, name });
  });
  const makers = [1, 2].map(async () => {
    await env.clock.sleep(100 + env.random.below(100));
    const pair: [Engine, Engine] = [ENGINES['etcd']!, ENGINES['etcd']!];
    for (let isDone = false, tries = 0; !isDone; tries++) {
      expect(tries).toBeLessThan(30);
      isDone = await change(world, pair, new Process()).then(
        () => true,
        (error: unknown) => {
          if (!errorCode(error)) throw error;
          return false;
        },
      );
      await env.clock.sleep(env.random.below(20_000)); // longer than a copy takes
    }
  });
  await Promise.all([...stewards, ...makers]);
  await env.clock.sleep(bad.lateMsMax);
  for (const name of Object.keys(faults)) delete faults[name];
  const { log, registry } = await open(2);
  const read = log.read(CELLS[0]!, 1);
  const entries = await Array.fromAsync(read, ({ bytes }) => fromUtf8(bytes));
  expect(acknowledged.entries.size).toBeGreaterThan(0);
  for (const [lsn, text] of acknowledged.entries) expect(entries[lsn - 1]).toBe(text);
  const row = await registry.get('count');
  expect(Number(row ? fromUtf8(row.value) : 0)).toBeGreaterThanOrEqual(acknowledged.count);
}

async function firstFailingRun(
  bugs: MemoryEtcdBugs,
  seedCount: number,
): Promise<string | undefined> {
  for (let seed = 1; seed <= seedCount; seed++) {
    try {
      await restlessRun(seed, bugs);
    } catch (error) {
      return `seed ${seed}: ${String(error)}`;
    }
  }
  return undefined;
}

describe('a draft on stores', () => {
  it('leaves nothing of a try that was given up', async () => {
    const world = new World();
    const draft = new LocalDraft(localOptions(world, 2, new Process()));
    expect(await draft.start()).toBe(true);
    const snapshot = { lsn: 3, parts: partsOf('half') };
    await draft.copyCell('cell-a', { epoch: 7, snapshot, entries: entriesOf() });
    expect(await Array.fromAsync(world.mirror.list())).toHaveLength(3);
    expect(await draft.start()).toBe(true);
    expect(await Array.fromAsync(world.mirror.list())).toEqual([]);
  });
});

describe('a draft that several can reach', () => {
  it.each(['etcd', 'memory'] as const)('in %s: who started last makes it', async (engine) => {
    const world = new World();
    const made = ENGINES[engine]!;
    const draft = () => made.draft(world, 2, new Process());
    const copy = () => ({ epoch: 7, snapshot: undefined, entries: entriesOf('e1') });
    const [first, second] = [draft(), draft()];
    expect(await first.start()).toBe(true);
    expect(await second.start()).toBe(true);
    expect(await first.copyCell('cell-a', copy()).catch(errorCode)).toBe('HF_FENCED');
    await second.copyCell('cell-a', copy());
    const rows = [{ key: 'k', version: 3, value: utf8('v') }];
    expect(await first.open({ version: 9, rows }).catch(errorCode)).toBe('HF_FENCED');
    expect(await made.open(world, 2, new Process()).catch(errorCode)).toBe('HF_UNAVAILABLE');
    await second.open({ version: 9, rows });
    expect(await first.start()).toBe(false);
    expect(await second.copyCell('cell-b', copy()).catch(errorCode)).toBe('HF_FENCED');
    const { log } = await made.open(world, 2, new Process());
    expect((await log.seize('cell-a')).lsn).toBe(1);
  });
});

describe('a change of the engine while stewards work, made by two at once,', () => {
  it('loses nothing that was acknowledged', async () => {
    expect(await firstFailingRun({}, 60)).toBeUndefined();
  });

  it('would, if the seal or the fence of the draft were not checked', async () => {
    expect(await firstFailingRun({ isAbsenceUnchecked: true }, 60)).toBeDefined();
    expect(await firstFailingRun({ isFenceUnchecked: true }, 60)).toBeDefined();
  });
});
