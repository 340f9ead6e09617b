// Aim: whoever follows a log has the steward's rows, whatever was trimmed, extended or spoilt; no
// row goes wrong unnoticed. Method: a steward that writes much and a replica on virtual time, with
// snapshots read back into empty databases and rows changed by another hand.
import { describe, expect, it } from 'vitest';
import { errorCode, LIMITS, toHex } from '../../base/index.ts';
import { type LocalDb, MemoryDb } from '../../db/index.ts';
import { MemoryLog } from '../../log/index.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import type { CellFault } from './cell-faults.ts';
import { Cell } from './cell.ts';
import { decodeSnapshotPart, encodeApplied } from './entries.ts';
import { Replica } from './replica.ts';
import { APPLIED_KEY, LOCAL_SLOT, rowKey, slotStart } from './rows.ts';
import { readKnownSnapshot } from './snapshot.ts';
import type { CellParts } from './steward.ts';

const noPeers = {
  cellOfSlot: (): never => {
    throw new Error('there is one cell');
  },
  ofCell: (): never => {
    throw new Error('there is one cell');
  },
};

function partsOf(log = new MemoryLog()): CellParts & { readonly log: MemoryLog } {
  return { env: virtualEnv(1), cell: 'cell', log, db: new MemoryDb() };
}

async function openCell(parts: CellParts): Promise<Cell> {
  return await Cell.open({ ...parts, peers: noPeers });
}

async function fill(cell: Cell, name: number, bytes: number): Promise<void> {
  await cell.execute((rows) =>
    rows.put(rowKey(1, 'Y', BigInt(name)), new Uint8Array(bytes).fill(name)),
  );
}

function rowsOf(db: LocalDb): string[] {
  const all = { from: new Uint8Array(), to: slotStart(LOCAL_SLOT) };
  return db.range(all).map(({ key, value }) => `${toHex(key)} ${toHex(value)}`);
}

async function kindsOf(log: MemoryLog): Promise<string[]> {
  const kinds: string[] = [];
  const snapshot = await log.loadSnapshot('cell');
  for await (const part of snapshot?.parts ?? []) kinds.push(decodeSnapshotPart(part).kind);
  return kinds;
}

describe('a replica', () => {
  it('follows the log, and hands its rows to the next steward', async () => {
    const parts = partsOf();
    const cell = await openCell(parts);
    const db = new MemoryDb();
    const replica = await Replica.open({ ...parts, db, intervalMs: 1000 });
    await fill(cell, 1, 10);
    await parts.env.clock.sleep(1500);
    expect(replica.applied.lsn).toBe(1);
    await fill(cell, 2, 10);
    replica.nudge(2);
    await parts.env.clock.sleep(1);
    expect(replica.applied.lsn).toBe(2);
    await fill(cell, 3, 10);
    await replica.caughtUp();
    expect(rowsOf(db)).toEqual(rowsOf(parts.db));
    await replica[Symbol.asyncDispose]();
    await using next = await openCell({ ...parts, db });
    await fill(next, 4, 10);
    await next.verify();
    await cell[Symbol.asyncDispose]();
  });

  it('comes after what was trimmed by a snapshot', async () => {
    const parts = partsOf();
    await using cell = await openCell(parts);
    const db = new MemoryDb();
    await fill(cell, 1, 10);
    await using replica = await Replica.open({ ...parts, db, intervalMs: 1e9 });
    await replica.caughtUp();
    for (let name = 0; name < 8; name++) await fill(cell, name, 500_000);
    await parts.env.clock.sleep(10);
    expect((await parts.log.head('cell')).trimmed).toBeGreaterThan(1);
    await replica.caughtUp();
    expect(rowsOf(db)).toEqual(rowsOf(parts.db));
  });

  it('makes rows again that another hand has changed', async () => {
    for (const fault of [undefined, 'no-digest'] as const) {
      const parts = partsOf();
      await using cell = await openCell(parts);
      await fill(cell, 1, 10);
      const db = new MemoryDb();
      const options: { faults?: CellFault } = fault ? { faults: fault } : {};
      await using replica = await Replica.open({ ...parts, db, intervalMs: 1e9, ...options });
      await replica.caughtUp();
      const key = rowKey(1, 'Y', 1n);
      await db.transact({ puts: [{ key, value: new Uint8Array([9]) }], deletes: [] });
      await fill(cell, 1, 20);
      await replica.caughtUp();
      await fill(cell, 2, 20);
      await replica.caughtUp();
      const isSame = String(rowsOf(db)) === String(rowsOf(parts.db));
      const isNoticed = await openCell({ ...parts, db }).then(async (next) => {
        const code = await next.verify().catch(errorCode);
        await next[Symbol.asyncDispose]();
        return code;
      });
      // The planted fault leaves what verifying finds.
      expect([isSame, isNoticed]).toEqual(fault ? [true, 'HF_CORRUPT'] : [true, undefined]);
    }
  });
});

describe('a snapshot', () => {
  it('is extended by entries until a new one is cheaper, and read back as it was', async () => {
    const parts = partsOf();
    await using cell = await openCell(parts);
    for (let name = 0; name < 12; name++) await fill(cell, name, 600_000);
    await parts.env.clock.sleep(10);
    const seen = new Set<string>();
    for (let round = 0; round < 40; round++) {
      await fill(cell, round % 12, 300_000);
      await parts.env.clock.sleep(10);
      const kinds = await kindsOf(parts.log);
      seen.add(kinds.includes('entries') ? 'extended' : 'whole');
      const { extensionBytes, snapshotBytes } = readKnownSnapshot(parts.db);
      expect(extensionBytes).toBeLessThanOrEqual(snapshotBytes);
      const head = await parts.log.head('cell');
      expect(head.lsn - head.trimmed).toBeLessThan(20);
    }
    expect([...seen].sort()).toEqual(['extended', 'whole']);
    const db = new MemoryDb();
    await using replica = await Replica.open({ ...parts, db });
    await replica.caughtUp();
    expect(rowsOf(db)).toEqual(rowsOf(parts.db));
  });

  it('has all entries after some time, however few they are', async () => {
    const parts = partsOf();
    await using cell = await openCell(parts);
    for (const name of [1, 2]) {
      await fill(cell, name, 10);
      await parts.env.clock.sleep(1.5 * LIMITS.snapshotAgeMs);
      const head = await parts.log.head('cell');
      expect(head.trimmed).toBe(head.lsn);
    }
  });

  it('is made whole by a steward whose database knows an older one', async () => {
    const parts = partsOf();
    const first = await openCell(parts);
    await fill(first, 1, 10);
    await parts.env.clock.sleep(1.5 * LIMITS.snapshotAgeMs);
    const old = (parts.db as MemoryDb).crash();
    await first[Symbol.asyncDispose]();
    const other = await openCell({ ...parts, db: new MemoryDb() });
    await fill(other, 2, 10);
    await parts.env.clock.sleep(1.5 * LIMITS.snapshotAgeMs);
    await fill(other, 3, 10);
    await other[Symbol.asyncDispose]();
    await using third = await openCell({ ...parts, db: old });
    await fill(third, 4, 10);
    await parts.env.clock.sleep(1.5 * LIMITS.snapshotAgeMs);
    const head = await parts.log.head('cell');
    expect(head.trimmed).toBe(head.lsn);
    await third.verify();
  });
});

describe('the digest', () => {
  it('of rows from before there was one is summed up when they are opened', async () => {
    const parts = partsOf();
    const cell = await openCell(parts);
    await fill(cell, 1, 10);
    await cell[Symbol.asyncDispose]();
    const row = parts.db.get(APPLIED_KEY) as Uint8Array;
    const first = new Uint8Array(row.subarray(0, row.length - 8));
    first[0] = 1;
    await parts.db.transact({ puts: [{ key: APPLIED_KEY, value: first }], deletes: [] });
    await using next = await openCell(parts);
    await fill(next, 2, 10);
    await next.verify();
    await parts.env.clock.sleep(1);
    expect(parts.db.get(APPLIED_KEY)?.length).toBe(
      encodeApplied({
        lsn: 0,
        chainHash: 0n,
        logBytes: 0,
        digest: 0n,
      }).length,
    );
  });
});
