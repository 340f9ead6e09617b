/**
 * Aim: the check of runs finds what is no order, bears what is not known, and a client that lies is
 * found. Method: histories by hand; and the clients of the workloads on a tree in memory, once
 * honest, once with one that says of lost renames that they are done.
 */
import { expect, it } from 'vitest';
import { HoldfastError, hexId, type VolumeId } from '../../src/base/index.ts';
import type { FileView } from '../../src/api/index.ts';
import { volumeKeys } from '../../src/crypto/index.ts';
import { MemoryDb } from '../../src/db/index.ts';
import { realEnv } from '../../src/env/index.ts';
import { MemoryLog } from '../../src/log/index.ts';
import { Cell, circumstancesOf, makeRoot, namespaceOf, treeOf } from '../../src/meta/index.ts';
import { type FileTree, openFileTree } from '../../src/volume/index.ts';
import { below, seededRandom } from '../e2e/content.ts';
import { type Caller, CLIENT_COUNT, type Doors, runClients } from './clients.ts';
import { outcomeOfError, Recorder, type Window } from './history.ts';
import { namesKind, namesModel, prepareNames } from './names.ts';
import { type RegisterCall, registerModel } from './register.ts';
import { checkWindows } from './windows.ts';

const env = realEnv();
const WINDOWS = 8;

type Event = readonly [call: RegisterCall, begunAt: number, endedAt: number, answer?: string];

/** Windows a second apart. */
function windowsOf(...windows: readonly (readonly Event[])[]): Window<RegisterCall>[] {
  return windows.map((events, index) => ({
    endedMs: index * 1000,
    refused: [],
    calls: events.map(([call, begunAt, endedAt, answer]) => ({
      call,
      begunAt,
      endedAt,
      answer,
      client: 'a client',
      unknownSinceMs: answer === undefined ? index * 1000 : undefined,
    })),
  }));
}

const put = (value: number): RegisterCall => ({ do: 'put', key: 'k', value });
const get: RegisterCall = { do: 'get', key: 'k' };
const remove: RegisterCall = { do: 'delete', key: 'k' };

function verdictOf(...windows: readonly (readonly Event[])[]): string {
  return checkWindows(registerModel, windowsOf(...windows)).kind;
}

it('carries states from window to window', () => {
  const written: Event[] = [
    [put(1), 1, 4, 'ok'],
    [put(2), 2, 3, 'ok'],
  ];
  expect(verdictOf(written, [[get, 5, 6, '1']], [[get, 7, 8, '1']])).toBe('linearizable');
  expect(verdictOf(written, [[get, 5, 6, '2']])).toBe('linearizable');
  // Either was the last, but not one after the other.
  expect(verdictOf(written, [[get, 5, 6, '1']], [[get, 7, 8, '2']])).toBe('violation');
  expect(verdictOf([[put(1), 1, 2, 'ok']], [[get, 3, 4, 'HF_NOT_FOUND']])).toBe('violation');
});

it('lets what is unknown happen later, once, or never', () => {
  const unknown: Event[] = [
    [put(1), 1, 2, 'ok'],
    [remove, 3, Infinity],
  ];
  const gone: Event = [get, 7, 8, 'HF_NOT_FOUND'];
  expect(verdictOf(unknown, [[get, 5, 6, '1']], [gone])).toBe('linearizable');
  expect(verdictOf(unknown, [[get, 5, 6, '1']], [[get, 7, 8, '1']])).toBe('linearizable');
  const again: Event[] = [
    [put(2), 9, 10, 'ok'],
    [get, 11, 12, 'HF_NOT_FOUND'],
  ];
  expect(verdictOf(unknown, [gone], again)).toBe('violation');
});

it('takes an unknown call for settled after a minute', () => {
  const early = windowsOf([
    [put(1), 1, 2, 'ok'],
    [remove, 3, Infinity],
  ]);
  const seen = (at: number, endedMs: number, answer: string): Window<RegisterCall> => ({
    ...windowsOf([[get, at, at + 1, answer]])[0]!,
    endedMs,
  });
  const late = [seen(5, 70_000, '1'), seen(7, 71_000, '1'), seen(9, 72_000, 'HF_NOT_FOUND')];
  expect(checkWindows(registerModel, [...early, ...late]).kind).toBe('violation');
  const meanwhile = [seen(5, 1000, '1'), seen(7, 70_000, 'HF_NOT_FOUND')];
  expect(checkWindows(registerModel, [...early, ...meanwhile]).kind).toBe('linearizable');
});

it('knows a refusal from an answer and from a doubt', () => {
  const answers = new Set(['HF_NOT_FOUND']);
  const kindOf = (error: unknown) => outcomeOfError(error, answers).kind;
  expect(kindOf(new HoldfastError('HF_NOT_FOUND', 'no'))).toBe('answer');
  expect(kindOf(new HoldfastError('HF_UNAVAILABLE', 'no'))).toBe('nothing');
  expect(kindOf(new HoldfastError('HF_UNKNOWN_OUTCOME', '?'))).toBe('unknown');
  expect(kindOf(new HoldfastError('HF_INTERRUPTED', '?'))).toBe('unknown');
  expect(kindOf(new Error('anything'))).toBe('unknown');
});

it('finds nothing wrong with honest clients', { timeout: 60_000 }, async () => {
  const { kind, counts } = await runNames((files) => callerOf(files));
  expect(kind).toBe('linearizable');
  expect(counts.get('answer')).toBeGreaterThan(WINDOWS * 30);
});

it('bears answers that are lost', { timeout: 60_000 }, async () => {
  const random = seededRandom(3);
  const { kind, counts } = await runNames((files) =>
    withRename(callerOf(files), async (rename) => {
      const isLost = below(random, 10) === 0;
      if (isLost && below(random, 2) === 0) throw new HoldfastError('HF_UNKNOWN_OUTCOME', 'lost');
      await rename();
      if (isLost) throw new HoldfastError('HF_UNKNOWN_OUTCOME', 'lost');
    }),
  );
  expect(kind).toBe('linearizable');
  expect(counts.get('HF_UNKNOWN_OUTCOME')).toBeGreaterThan(2);
});

it('finds a client that says of a lost rename that it is done', { timeout: 60_000 }, async () => {
  const random = seededRandom(4);
  const { kind } = await runNames((files) =>
    withRename(callerOf(files), async (rename) => {
      if (below(random, 6) > 0) await rename();
    }),
  );
  expect(kind).toBe('violation');
});

/** Each client with its own caller of one tree. */
async function runNames(callerFor: (files: FileTree) => Caller) {
  const files = await memoryTree();
  const callers = Array.from({ length: CLIENT_COUNT }, () => callerFor(files));
  const doors: Doors = {
    names: callers.map((_, index) => String(index)),
    client: (name) => callers[Number(name)]!,
  };
  await prepareNames(callerOf(files), '');
  const recorder = await runClients({
    kind: namesKind(''),
    doors,
    random: seededRandom(7),
    isOver: (windows) => windows === WINDOWS,
    recorder: new Recorder(),
  });
  return { kind: checkWindows(namesModel, recorder.windows).kind, counts: recorder.counts };
}

function withRename(
  caller: Caller,
  around: (rename: () => Promise<void>) => Promise<void>,
): Caller {
  const call: Caller['call'] = async (method, input, options) => {
    if (method !== 'tree.rename') return await caller.call(method, input, options);
    await around(async () => void (await caller.call(method, input, options)));
    return undefined as never;
  };
  return { ...caller, call };
}

async function memoryTree(): Promise<FileTree> {
  const peers = { ofSlot: noPeer, ofCell: noPeer, cellOfSlot: noPeer };
  const log = new MemoryLog({ env });
  const cell = await Cell.open({ env, cell: 'v', log, db: new MemoryDb(), peers });
  const salt = env.random.bytes(16);
  await cell.execute((rows) => makeRoot(rows, { salt, nowMs: env.clock.now() }));
  const now = () => circumstancesOf(env);
  return openFileTree({
    env,
    volume: hexId<VolumeId>(env.random.bytes(16)),
    keys: volumeKeys(env.random.bytes(32)),
    namespace: namespaceOf(cell, now),
    tree: treeOf(cell, now),
  });
}

function noPeer(): never {
  throw new Error('there is one cell');
}

/** The methods of the control interface that the workload uses, over a tree. */
function callerOf(files: FileTree): Caller {
  const methods: Readonly<Record<string, (input: never) => Promise<unknown>>> = {
    'tree.status': ({ path }: { path: string }) => files.status(path),
    'tree.makeFile': ({ path, uid }: { path: string; uid: number }) =>
      files.makeFile(path, { uid }),
    'tree.makeDirectory': ({ path, uid }: { path: string; uid: number }) =>
      files.makeDirectory(path, { uid }),
    'tree.link': ({ existing, path }: { existing: string; path: string }) =>
      files.link(existing, path),
    'tree.rename': ({ from, to, flag }: { from: string; to: string; flag?: 'noReplace' }) =>
      files.rename(from, to, { flag }),
    'tree.unlink': ({ path }: { path: string }) => files.unlink(path),
    'tree.removeDirectory': ({ path }: { path: string }) => files.removeDirectory(path),
  };
  const call = async (method: string, input: never, options?: never): Promise<unknown> => {
    if (method !== 'tree.list') return await methods[method]!(input);
    const { onItem } = options as unknown as { onItem: (view: FileView) => void };
    for await (const view of files.list((input as { path: string }).path)) onItem(view);
    return {};
  };
  const none = (): never => {
    throw new Error('there is no content');
  };
  return { call: call as Caller['call'], put: none, get: none };
}
