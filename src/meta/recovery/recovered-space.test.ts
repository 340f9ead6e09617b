/**
 * Aim: snapshots of several cells become one cell: each slot's rows once, also while slots are on
 * their way, what a transaction has committed applied, everything else of single cells gone; a
 * snapshot that needs the log is refused. Method: rows made by hand in memory databases, saved to a
 * log in memory and read back by a steward.
 */
import { describe, expect, it } from 'vitest';
import { errorCode, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { MemoryLog } from '../../log/index.ts';
import { encodeSnapshotHead, encodeSnapshotTail } from '../cells/entries.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { CELL_SLOT, rowKey } from '../cells/rows.ts';
import { Steward } from '../cells/steward.ts';
import {
  type Adoption,
  adoptionKey,
  commitmentKey,
  encodeAdoption,
  encodeCommitment,
  encodeIntent,
  encodeOwnership,
  intentKey,
  type Ownership,
  SLOTS_KEY,
} from '../cells/transactions/transaction-rows.ts';
import { loadWhole, RecoveredSpace } from './recovered-space.ts';

const VALUE = utf8('value');
const TOKEN = utf8('token');

function keyOf(slot: number): Uint8Array {
  return rowKey(slot, 'I', BigInt(slot));
}

/** A cell with a row in each hundredth slot, also of those that it does not own. */
async function cellOf(cell: string, slots?: Ownership['slots'], more: Partial<Ownership> = {}) {
  const db = new MemoryDb();
  const owned = slots && {
    key: SLOTS_KEY,
    value: encodeOwnership({ slots, moveNumber: 1, ...more }),
  };
  const rows = Array.from({ length: 41 }, (_, index) => ({
    key: keyOf(index * 100),
    value: utf8(cell),
  }));
  await db.transact({ puts: [...rows, ...(owned ? [owned] : [])], deletes: [] });
  return { cell, db };
}

function ownersOf(space: RecoveredSpace): Map<number, string> {
  const owners = new Map<number, string>();
  for (const { key, value } of space.rows()) {
    const slot = (key[0]! << 8) | key[1]!;
    expect(owners.has(slot)).toBe(false);
    owners.set(slot, Buffer.from(value).toString());
  }
  return owners;
}

const adoption: Adoption = {
  number: 1,
  attempt: 1,
  slots: { from: 2000, to: 4096 },
  state: 'done',
  index: 0,
  rowCount: 0,
  digest: 0n,
};

describe('a space made again', () => {
  it('has all rows of a lone cell', async () => {
    const space = await RecoveredSpace.open([await cellOf('x')]);
    expect(ownersOf(space).size).toBe(41);
    expect(space.lostSlots).toBe(0);
  });

  it('takes each slot from the cell that has it', async () => {
    const [one, two] = [
      await cellOf('x', { from: 0, to: 2000 }),
      await cellOf('x-1', { from: 2000, to: 4096 }),
    ];
    const owners = ownersOf(await RecoveredSpace.open([one, two]));
    expect([owners.get(1900), owners.get(2000), owners.size]).toEqual(['x', 'x-1', 41]);
  });

  it('takes slots that two claim from the one that took them over', async () => {
    const slots = { from: 2000, to: 4096 };
    const one = await cellOf('x', { from: 0, to: 4096 }, { outgoing: { slots, target: 'x-1' } });
    const two = await cellOf('x-1', slots);
    const taken = { key: adoptionKey({ source: 'x' }), value: encodeAdoption(adoption) };
    await two.db.transact({ puts: [taken], deletes: [] });
    for (const cells of [
      [one, two],
      [two, one],
    ]) {
      const owners = ownersOf(await RecoveredSpace.open(cells));
      expect([owners.get(1900), owners.get(2000)]).toEqual(['x', 'x-1']);
    }
  });

  it('counts slots that no snapshot has', async () => {
    const one = await cellOf('x', { from: 0, to: 2000 }, { leaving: { from: 2000, to: 4096 } });
    const two = await cellOf('x-1', { from: 4096, to: 4096 });
    const space = await RecoveredSpace.open([one, two]);
    expect(space.lostSlots).toBe(2096);
    expect(ownersOf(space).size).toBe(20);
  });

  it('applies what was committed and drops other intents, and rows of single cells', async () => {
    const one = await cellOf('x', { from: 0, to: 2000 });
    const two = await cellOf('x-1', { from: 2000, to: 4096 });
    const txid = (number: number) => ({ cell: 'x', epoch: 3, number });
    const intent = (number: number) => ({
      key: intentKey(txid(number)),
      value: encodeIntent({
        token: TOKEN,
        reads: [],
        changes: [
          { key: keyOf(3000 + number), value: utf8('committed') },
          { key: keyOf(2000 + 100 * number), value: undefined },
        ],
      }),
    });
    await two.db.transact({ puts: [intent(1), intent(2), intent(3)], deletes: [] });
    const committed = [{ cell: 'x-1', token: TOKEN }];
    const other = [{ cell: 'x-1', token: utf8('of another attempt') }];
    const shared = { key: rowKey(CELL_SLOT, 'L'), value: VALUE };
    await one.db.transact({
      puts: [
        { key: commitmentKey(txid(1)), value: encodeCommitment(committed) },
        { key: commitmentKey(txid(3)), value: encodeCommitment(other) },
        shared,
      ],
      deletes: [],
    });
    const space = await RecoveredSpace.open([two, one]);
    const owners = ownersOf(space);
    expect(owners.get(3001)).toBe('committed');
    expect([owners.has(2100), owners.has(2200), owners.has(2300)]).toEqual([false, true, true]);
    expect([owners.has(3002), owners.has(3003)]).toEqual([false, false]);
    expect(Array.from(space.rows()).at(-1)!.key).toEqual(new Uint8Array(shared.key));
    expect(owners.size).toBe(42);
  });

  it('is read by a steward, which goes on from there', async () => {
    const env = virtualEnv(1);
    const log = new MemoryLog();
    const space = await RecoveredSpace.open([await cellOf('x')]);
    await log.adopt('x', { epoch: 1, snapshot: space.snapshot(17), entries: none() }, () => {});
    const db = new MemoryDb();
    for (let opened = 0; opened < 2; opened++) {
      await using steward = await Steward.open({ env, cell: 'x', log, db });
      await steward.execute((rows) => rows.put(keyOf(opened + 1), VALUE));
      await steward.verify();
      expect(await steward.execute((rows) => rows.get(keyOf(100)))).toEqual(utf8('x'));
    }
    expect(await log.head('x')).toMatchObject({ lsn: 19 });
  });
});

it('refuses a snapshot that needs the log', async () => {
  const snapshot = (consistentFrom: number) => ({
    lsn: 5,
    parts: parts(
      encodeSnapshotHead({ lsn: 5, chainHash: 0n, logBytes: 0, digest: 0n }),
      encodeSnapshotTail({ consistentFrom, rowCount: 0, digest: 0n }),
    ),
  });
  await loadWhole(new MemoryDb(), snapshot(5));
  expect(await loadWhole(new MemoryDb(), snapshot(6)).catch(errorCode)).toBe('HF_CORRUPT');
});

async function* parts(...all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all;
}

async function* none(): AsyncGenerator<never> {}
