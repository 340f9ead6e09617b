/** One seed of the metadata plane, from nothing to the last check. */
import { SeededRandom } from '../random.ts';
import { textOf } from '../sim-env.ts';
import { Violation } from '../violation.ts';
import { checkAtEnd, checkHistory, describe, finishChange, inTime } from './checks.ts';
import { Client } from './client.ts';
import { drawPlan, type Plan } from './plan.ts';
import type { PlantName, PlantSeeds } from './planting.ts';
import { Stripes } from './stripes.ts';
import { runTroubles } from './troubles.ts';
import { World } from './world.ts';

export interface RunOptions {
  readonly plant?: PlantName | undefined;
  /** Instead of the seed's own: a smaller one. */
  readonly plan?: Plan | undefined;
  readonly keepsTrace?: boolean | undefined;
}

export interface RunResult {
  readonly seed: number;
  /** What does not hold, in one line; `undefined` when all is well. */
  readonly failure: string | undefined;
  readonly plan: Plan;
  readonly events: number;
  readonly messages: number;
  readonly calls: number;
  readonly virtualMs: number;
  /** What happened to the world, and what clients asked and heard. */
  readonly notes: readonly string[];
  readonly history: readonly string[];
}

export async function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  const random = new SeededRandom(BigInt(seed)).fork('metadata');
  const plan = options.plan ?? drawPlan(seed, random.fork('plan'));
  const world = new World({ ...options, plan, random });
  let failure: string | undefined;
  const onRejection = (error: unknown): void =>
    world.violate(`nobody heard of a rejection: ${textOf(error)}`, error);
  process.on('unhandledRejection', onRejection);
  try {
    await world.time.run(() =>
      Promise.race([runWorld(world, random, options.plant), world.violated]),
    );
    checkHistory(world.history);
  } catch (error) {
    failure = error instanceof Violation ? error.message : textOf(error);
    const cause = error instanceof Violation ? error.cause : error;
    if (cause instanceof Error) world.note(cause.stack ?? '');
  } finally {
    process.off('unhandledRejection', onRejection);
  }
  return {
    seed,
    failure,
    plan,
    events: world.time.eventCount,
    messages: world.net.messageCount,
    calls: world.history.length,
    virtualMs: world.time.nowMs,
    notes: world.notes,
    history: world.history.map(describe),
  };
}

async function runWorld(
  world: World,
  random: SeededRandom,
  plant: PlantName | undefined,
): Promise<void> {
  const { plan } = world;
  const clients = plan.clients.map(
    (_, index) => new Client(world, index, random.fork(`client-${index}`)),
  );
  if (plan.kind === 'tree' && plan.tree === 'namespace') {
    await clients[0]?.prepare();
    const isHeld = plan.clients.flat().some((planned) => planned.isHeld);
    if (isHeld) for (const client of clients) await client.beginSession();
  }
  world.disturb();
  const stripes = new Stripes(world, random.fork('stripes'), plant);
  const working =
    plan.kind === 'stripes'
      ? stripes.run(plan.puts)
      : Promise.all(clients.map((client, index) => client.run(plan.clients[index]!)));
  let areDone = false;
  const troubles = runTroubles(world, plan.troubles, () => areDone);
  await Promise.race([working, troubles]);
  areDone = true;
  world.heal();
  await inTime(world, finishChange(world), 'a change of engine');
  await inTime(world, working, 'a call');
  if (plan.kind === 'stripes') await inTime(world, stripes.check(), 'the last collection');
  await checkAtEnd(world, new Client(world, clients.length, random.fork('last')));
}

/** The first seed that fails; `undefined` when none does. */
export async function findFailure(
  { from, count, step = 1 }: PlantSeeds,
  plant?: PlantName,
): Promise<RunResult | undefined> {
  for (let index = 0; index < count; index++) {
    const result = await runSeed(from + index * step, { plant });
    if (result.failure !== undefined) return result;
  }
  return undefined;
}
