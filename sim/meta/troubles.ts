/** What goes wrong, and when it is over: the troubles of a plan happen to a world. */
import { errorCode } from '../../src/base/index.ts';
import { textOf } from '../sim-env.ts';
import type { PlannedTrouble, Trouble } from './plan.ts';
import { isPassing, type World } from './world.ts';

/** Lets the troubles come at their times. @param isOver ends them. */
export async function runTroubles(
  world: World,
  troubles: readonly PlannedTrouble[],
  isOver: () => boolean,
): Promise<void> {
  const startMs = world.time.nowMs;
  for (const trouble of troubles) {
    const waitMs = startMs + trouble.atMs - world.time.nowMs;
    if (waitMs > 0) await world.time.sleep(waitMs);
    if (isOver()) return;
    world.note(`${trouble.kind} ${JSON.stringify(trouble)}`);
    happen(world, trouble);
  }
}

function happen(world: World, trouble: Trouble): void {
  if (trouble.kind === 'move') return move(world, trouble);
  const machine = world.machines[trouble.machine]!;
  switch (trouble.kind) {
    case 'crash':
      machine.crash();
      return world.time.after(trouble.awayMs, () => machine.start());
    case 'pause':
      return machine.pause(trouble.ms);
    case 'partition':
      world.net.cut(machine.index, trouble.ways);
      return world.time.after(trouble.ms, () => world.net.mend(machine.index));
    case 'full':
      machine.isFull = true;
      return world.time.after(trouble.ms, () => (machine.isFull = false));
    case 'change': {
      const { current } = machine;
      const changing = current && world.engine.change(current.life, world.cells);
      return borne(world, changing, 'a change of engine');
    }
    case 'seize': {
      const seizing = machine.current?.host.seize(world.cells[trouble.cell]!);
      return borne(world, seizing, 'a seizure');
    }
  }
}

/** The source's steward gives some slots to the cell beside it; it keeps one at least. */
function move(world: World, { cell, end, slotCount }: Trouble & { kind: 'move' }): void {
  const target = world.cells[end === 'lower' ? cell - 1 : cell + 1];
  const source = world.newestSteward(world.cells[cell]!)?.cell;
  if (!target || !source) return;
  const { slots, outgoing, isServing } = source.view();
  const count = Math.min(slotCount, slots.to - slots.from - 1);
  if (outgoing || !isServing || count < 1) return;
  const moved =
    end === 'lower'
      ? { from: slots.from, to: slots.from + count }
      : { from: slots.to - count, to: slots.to };
  borne(world, source.moveSlots({ slots: moved, target }), 'a move');
}

/** It may fail in the ways in which it may. */
function borne(world: World, work: Promise<unknown> | undefined, what: string): void {
  work?.catch((error: unknown) => {
    world.note(`${what} ended with ${errorCode(error)}`);
    // Slots that were asked for may have gone meanwhile.
    if (!isPassing(error) && errorCode(error) !== 'HF_BAD_ARGUMENT')
      world.violate(`${what} ended with ${textOf(error)}`, error);
  });
}
