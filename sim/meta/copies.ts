/**
 * All copies of a cell are the same in the end. And a copy that is not as its log says, as after a
 * fault of its disk or of our own, is found out and made again: see the running digest of entries.
 */
import { bytesEqual, errorMessage } from '../../src/base/index.ts';
import type { LocalDb, Row } from '../../src/db/index.ts';
import type { CellId } from '../../src/log/index.ts';
import type { Cell } from '../../src/meta/index.ts';
import { Violation } from '../violation.ts';
import type { Machine } from './machine.ts';
import { isPassing, type World } from './world.ts';

/** Rows of the cell, in no slot. */
const WRITTEN_ROW: Uint8Array = new Uint8Array([0xff, 0xfe, 0x7a, 1]);
const KEPT_ROW: Uint8Array = new Uint8Array([0xff, 0xfe, 0x7a, 2]);
/** All but those of one copy are below. */
const LOCAL_ROWS: Uint8Array = new Uint8Array([0xff, 0xff]);

const LOOKS_MAX = 20;
const LOOK_MS = 50;

/** @param stewardOf waits for the steward of the moment. @throws Violation. */
export async function checkCopies(
  world: World,
  cell: CellId,
  stewardOf: () => Promise<Cell>,
): Promise<void> {
  const write = async (key: Uint8Array, value: number): Promise<void> => {
    const put = async (): Promise<void> =>
      (await stewardOf()).execute((rows) => rows.put(key, Uint8Array.of(value)));
    await put().catch(put); // who was the steward may find out just now that it is not
  };
  // A disk that was full gets what it lacks with the next change.
  await write(WRITTEN_ROW, 1);
  await write(KEPT_ROW, 1);
  await (await stewardOf()).verify();
  if (!world.plan.hasReplicas) return;
  await untilSame(world, cell, stewardOf);
  await rot(world, cell);
  // The first change shows that the row is another one; the second one's digest, that it was not.
  await write(WRITTEN_ROW, 2);
  await write(WRITTEN_ROW, 3);
  await untilSame(world, cell, stewardOf);
}

/** Two rows of a follower change behind its back, of which only one will be written again. */
async function rot(world: World, cell: CellId): Promise<void> {
  // Not the first, which takes over when there is nobody: of a steward nothing is made again.
  const victim = othersThan(world, cell).at(-1);
  const puts = [WRITTEN_ROW, KEPT_ROW].map((key) => ({ key, value: Uint8Array.of(0xee) }));
  await victim?.diskOf(cell)?.transact({ puts, deletes: [] });
}

function othersThan(world: World, cell: CellId): Machine[] {
  const steward = world.newestSteward(cell)?.machine;
  return world.machines.filter((machine) => machine !== steward);
}

async function untilSame(
  world: World,
  cell: CellId,
  stewardOf: () => Promise<Cell>,
): Promise<void> {
  for (let looks = 1; ; looks += 1) {
    await stewardOf();
    const difference = await differenceAmong(world, cell).catch(whatKept);
    if (difference === undefined) return;
    // Something that was asked long ago may change rows as they are compared.
    if (looks === LOOKS_MAX) throw new Violation(`copies of ${cell} differ: ${difference}`);
    await world.time.sleep(LOOK_MS * looks);
  }
}

/** A look at the log that a pause has kept from before all healed may fail yet. */
function whatKept(error: unknown): string {
  if (!isPassing(error)) throw error;
  return errorMessage(error);
}

async function differenceAmong(world: World, cell: CellId): Promise<string | undefined> {
  const others = othersThan(world, cell);
  for (const { current } of others) await (await current!.host.follow(cell))?.caughtUp();
  const steward = world.newestSteward(cell);
  if (!steward) return 'nobody is its steward';
  const expected = rowsOf(steward.machine.diskOf(cell)!);
  for (const other of others) {
    const difference = differenceOf(expected, rowsOf(other.diskOf(cell)!));
    if (difference !== undefined) return `machine ${other.index} has ${difference}`;
  }
  return undefined;
}

function rowsOf(db: LocalDb): Row[] {
  return db.range({ from: new Uint8Array(), to: LOCAL_ROWS });
}

function differenceOf(expected: readonly Row[], found: readonly Row[]): string | undefined {
  if (expected.length !== found.length) return `${found.length} rows, not ${expected.length}`;
  const index = expected.findIndex(({ key, value }, at) => {
    const other = found[at]!;
    return !bytesEqual(key, other.key) || !bytesEqual(value, other.value);
  });
  return index < 0 ? undefined : `another row ${index}`;
}
