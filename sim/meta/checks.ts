/**
 * The end of a run, when nothing goes wrong any more: every call is answered, no transaction and no
 * move is left over, every slot has one owner, all copies of a cell are the same, and the history
 * is linearizable, with a look at everything as its last calls.
 */
import type { CellId } from '../../src/log/index.ts';
import type { Cell } from '../../src/meta/index.ts';
import { textOf } from '../sim-env.ts';
import { Violation } from '../violation.ts';
import type { Client } from './client.ts';
import { checkCopies } from './copies.ts';
import { checkLinearizable, type HistoryCall } from './linearizable.ts';
import { FIRST_DIRECTORIES, NEVER, partsOf, treeModel, type TreeCall } from './tree-model.ts';
import { isPassing, type World } from './world.ts';

/** For what must come to an end by itself. */
const PATIENCE_MS = 60_000;
const LOOK_EVERY_MS = 50;

/** @param work must end in time. @throws Violation. */
export async function inTime(world: World, work: Promise<unknown>, what: string): Promise<void> {
  let isDone = false;
  const late = (async () => {
    await world.time.sleep(PATIENCE_MS);
    if (!isDone) throw new Violation(`${what}: no end after ${PATIENCE_MS / 1000} s of calm`);
  })();
  late.catch(() => {}); // it lost the race
  await Promise.race([work, late]);
  isDone = true;
}

export async function checkAtEnd(world: World, client: Client): Promise<void> {
  await inTime(world, settle(world), 'what is under way');
  const disputed = world.slotsInDispute();
  if (disputed !== undefined) throw new Violation(`${disputed} has no owner, or two`);
  await inTime(world, lookAtAll(world, client), 'a last look');
  for (const cell of world.cells) {
    const check = checkCopies(world, cell, () => stewardOf(world, cell));
    await inTime(world, check, 'what is copied');
  }
}

/** Until every cell has a steward, nobody is about to take one, and nothing is left over. */
async function settle(world: World): Promise<void> {
  for (;;) {
    const stewards = await Promise.all(world.cells.map((cell) => stewardOf(world, cell)));
    const isQuiet = stewards.every((steward) => {
      const { intentCount, transactionCount, outgoing } = steward.view();
      return intentCount === 0 && transactionCount === 0 && outgoing === undefined;
    });
    const isChanging = world.machines.some(({ current }) => current?.host.isChanging);
    if (isQuiet && !isChanging) return;
    await world.time.sleep(LOOK_EVERY_MS);
  }
}

/** Brings a change of engine to its end, which somebody has begun. */
export async function finishChange(world: World): Promise<void> {
  while (world.engine.isHalfChanged) {
    try {
      await world.engine.change(world.life, world.cells);
    } catch (error) {
      if (!isPassing(error)) throw error;
      await world.time.sleep(LOOK_EVERY_MS);
    }
  }
}

/** The steward of the moment; one that does not know of its successor finds out when asked. */
async function stewardOf(world: World, cell: CellId): Promise<Cell> {
  for (;;) {
    try {
      const known = world.newestSteward(cell)?.cell;
      const steward = known ?? (await world.machines[0]!.current!.host.seize(cell));
      await steward.execute(() => undefined);
      return steward;
    } catch (error) {
      world.note(`${cell} has no steward yet: ${textOf(error)}`);
    }
    await world.time.sleep(LOOK_EVERY_MS);
  }
}

/** Reads every directory that there may be: the history must explain what is seen. */
async function lookAtAll(world: World, client: Client): Promise<void> {
  const directories = new Set(FIRST_DIRECTORIES);
  for (const { call } of world.history) if (call.do === 'mkdir') directories.add(call.node);
  for (const directory of directories) await client.ask({ do: 'list', directory });
}

/** @throws Violation. */
export function checkHistory(history: readonly HistoryCall<TreeCall>[]): void {
  for (const part of partsOf(history.filter(isToBeExplained))) {
    const verdict = checkLinearizable(treeModel, part);
    if (verdict.kind === 'violation') {
      const left = verdict.left.map(describe).join('; ');
      throw new Violation(`not linearizable: ${left}`);
    }
    if (verdict.kind === 'undecided') throw new Violation('undecided: too many orders');
  }
}

/** A read that nobody heard of says nothing; nobody may have seen what never happened. */
function isToBeExplained({ call, answer }: HistoryCall<TreeCall>): boolean {
  if (answer === NEVER) return false;
  return answer !== undefined || (call.do !== 'lookup' && call.do !== 'list');
}

export function describe({ call, answer, begunAt, endedAt }: HistoryCall<TreeCall>): string {
  const { do: what, ...rest } = call;
  const parts = Object.values(rest).map((part) =>
    typeof part === 'object' ? `${part.directory}/${part.name}` : String(part),
  );
  return `${begunAt}–${endedAt} ${what} ${parts.join(' ')} → ${answer}`;
}
