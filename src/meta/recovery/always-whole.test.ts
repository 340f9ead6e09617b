/**
 * Aim: at any moment the stores have a snapshot of a cell that needs no log, also while a new one
 * is taken of rows that change meanwhile. Method: a steward over a simulated etcd writes while its
 * snapshots are taken; after each change of the stores all lists on them are read. A log that lets
 * the older snapshot go too early is noticed.
 */
import { describe, expect, it } from 'vitest';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, LIMITS, toHex, utf8 } from '../../base/index.ts';
import { digest } from '../../crypto/index.ts';
import { MemoryDb } from '../../db/index.ts';
import {
  EtcdLog,
  type FencedLog,
  MemoryEtcd,
  type MirrorRecord,
  type MirrorRef,
  type PartStore,
  PoolSnapshots,
} from '../../log/index.ts';
import { rowKey } from '../cells/rows.ts';
import { Steward } from '../cells/steward.ts';
import { loadWhole } from './recovered-space.ts';

const KEY = new Uint8Array(32).fill(1);
const CELL = 'cell';
/** In all, written again and again, so that new snapshots are made rather than extended. */
const ROWS = 600;
const ROW_BYTES = 1000;

/** Chunks by their ids; `changed` is called after each change. */
class Chunks implements PartStore {
  readonly #held = new Map<string, { bytes: Uint8Array; isList: boolean }>();
  changed: () => Promise<void> = async () => {};

  async put(bytes: Uint8Array, kind: 'part' | 'list' = 'part'): Promise<MirrorRef> {
    const id = digest(bytes);
    this.#held.set(toHex(id), { bytes: new Uint8Array(bytes), isList: kind === 'list' });
    await this.changed();
    return { id };
  }

  async get({ id }: MirrorRef): Promise<Uint8Array | undefined> {
    return this.#held.get(toHex(id))?.bytes;
  }

  async remove(refs: readonly MirrorRef[]): Promise<void> {
    for (const { id } of refs) {
      this.#held.delete(toHex(id));
      await this.changed();
    }
  }

  async *lists(): AsyncGenerator<MirrorRef & MirrorRecord> {
    for (const [hex, { bytes, isList }] of this.#held) {
      if (isList) yield { id: new Uint8Array(Buffer.from(hex, 'hex')), bytes };
    }
  }
}

async function isRecoverable(pool: PoolSnapshots): Promise<boolean> {
  for (const snapshot of await pool.all()) {
    const loaded = loadWhole(new MemoryDb(), snapshot).then(() => true);
    if (await loaded.catch((error) => errorCode(error) === undefined)) return true;
  }
  return false;
}

/** @returns how often the stores were looked at since the first snapshot, and had none. */
async function work(change: (log: EtcdLog) => FencedLog = (log) => log) {
  const env = virtualEnv(1);
  const kv = new MemoryEtcd({ env }).connect();
  const parts = new Chunks();
  const place = { env, kv, prefix: 'p/', metadataKey: KEY, generation: 1 };
  const log = change(new EtcdLog({ ...place, parts }));
  const pool = new PoolSnapshots({ env, parts, metadataKey: KEY });
  const looks = { all: 0, without: 0 };
  let hasFirst = false;
  parts.changed = async () => {
    const isThere = await isRecoverable(pool);
    hasFirst ||= isThere;
    if (!hasFirst) return;
    looks.all += 1;
    if (!isThere) looks.without += 1;
  };
  await using steward = await Steward.open({ env, cell: CELL, log, db: new MemoryDb() });
  const untilMs = env.clock.monotonic() + 2 * LIMITS.snapshotAgeMs;
  for (let round = 0; env.clock.monotonic() < untilMs || round < 4 * ROWS; round++) {
    const value = utf8(`${round} `.padEnd(ROW_BYTES, 'x'));
    await steward.execute((rows) => rows.put(rowKey(round % ROWS, 'T'), value));
    if (round % 100 === 0) await env.clock.sleep(1000);
  }
  return looks;
}

describe('the snapshots of a cell on the stores', () => {
  it('are never all of them in need of the log', { timeout: 60_000 }, async () => {
    const looks = await work();
    expect(looks.all).toBeGreaterThan(10);
    expect(looks.without).toBe(0);
  });

  it('would be, if older ones went earlier', { timeout: 60_000 }, async () => {
    const { without } = await work((log) => ({
      entryBytesTarget: log.entryBytesTarget,
      head: (cell) => log.head(cell),
      seize: (cell) => log.seize(cell),
      append: (...all) => log.append(...all),
      confirm: (...all) => log.confirm(...all),
      read: (...all) => log.read(...all),
      trim: (...all) => log.trim(...all),
      loadSnapshot: (cell) => log.loadSnapshot(cell),
      async saveSnapshot(cell, position, saved, options) {
        await log.saveSnapshot(cell, position, saved, options);
        await log.trim(cell, position.lsn);
      },
      [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
    }));
    expect(without).toBeGreaterThan(0);
  });
});
