/**
 * One run of a workload on nodes that are there, with or without a nemesis, and what came of it.
 * The nodes may have served other runs before: each makes names of its own.
 */
import { performance } from 'node:perf_hooks';
import type { Model } from '../../sim/meta/linearizable.ts';
import { seededRandom } from '../e2e/content.ts';
import { until } from '../e2e/harness.ts';
import { type Doors, type Kind, runClients } from './clients.ts';
import type { Ground } from './cluster.ts';
import { Recorder, type Window } from './history.ts';
import { namesKind, namesModel, prepareNames } from './names.ts';
import { type NemesisName, runNemesis } from './nemesis.ts';
import { registerKind, registerModel, windowsByKey } from './register.ts';
import { SetRun } from './set.ts';
import { TangleRun } from './tangle.ts';
import { checkWindows, violationLines } from './windows.ts';

export const WORKLOADS = ['register', 'set', 'names', 'tangle'] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

export interface RunPlan {
  readonly workload: WorkloadName;
  readonly seed: number;
  readonly seconds: number;
  /** Elements of a set; the run goes on until so many were acknowledged. */
  readonly elementsMin?: number | undefined;
  readonly nemesis?: NemesisName | undefined;
  /** Whether a node that says that nothing was done is believed; else its outcome is unknown. */
  readonly believes?: boolean | undefined;
  readonly say: (line: string) => void;
}

export interface RunReport {
  /** One line each; none: nothing was wrong. */
  readonly faults: readonly string[];
  readonly troubles: number;
  /** Calls by how they ended. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** What else is worth printing. */
  readonly figures: Readonly<Record<string, number>>;
}

type Checked = Omit<RunReport, 'troubles'>;

/** @param ground its clients see only what this run makes. */
export async function runOnce(ground: Ground, plan: RunPlan): Promise<RunReport> {
  const random = seededRandom(plan.seed);
  const over = new AbortController();
  const { nemesis: name, say } = plan;
  let endMs = Infinity;
  const isOver = (): boolean => performance.now() > endMs;
  const work = await WORK[plan.workload](ground, { plan, random, isOver, calm });
  endMs = performance.now() + plan.seconds * 1000;
  const nemesis = name && runNemesis({ name, ground, random, signal: over.signal, say });
  nemesis?.catch(() => {}); // heard by calm
  /** Ends the nemesis, and waits until the nodes answer again. */
  async function calm(): Promise<void> {
    over.abort();
    await nemesis;
    for (const node of ground.running) {
      await until(`${node} answers again`, async () => {
        ground.assertAlive();
        return await ground
          .client(node)
          .call('object.list', { prefix: 'nothing' })
          .then(
            () => true,
            () => false,
          );
      });
    }
  }
  try {
    const checked = await work();
    return { ...checked, troubles: (await nemesis) ?? 0 };
  } finally {
    over.abort();
    await nemesis?.catch(() => {});
  }
}

interface Work {
  readonly plan: RunPlan;
  readonly random: () => number;
  readonly isOver: () => boolean;
  readonly calm: () => Promise<void>;
}

/** Prepared in calm; what it gives is then run amid the troubles. */
type Prepare = (ground: Ground, work: Work) => Promise<() => Promise<Checked>>;

const WORK: Readonly<Record<WorkloadName, Prepare>> = {
  async names(ground, work) {
    const root = `names-${work.plan.seed}-`;
    await prepareNames(ground.client(ground.running[0]!), root);
    return async () => {
      const recorder = await runKind(ground, namesKind(root), work);
      return checked(recorder, namesModel, [{ key: 'names', windows: recorder.windows }]);
    };
  },
  register: async (ground, work) => async () => {
    const recorder = await runKind(ground, registerKind(`register-${work.plan.seed}/`), work);
    return checked(recorder, registerModel, windowsByKey(recorder.windows));
  },
  set:
    async (ground, { plan, isOver, calm }) =>
    async () => {
      const { seed, elementsMin = 0 } = plan;
      const hasEnough = (): boolean => isOver() && run.acknowledged >= elementsMin;
      const about = { doors: doorsOf(ground), prefix: `set-${seed}/`, isOver: hasEnough };
      const run = new SetRun(about);
      await run.run();
      await calm();
      await run.readAll();
      const { faults, recorder, reads, acknowledged } = run;
      const lines = faults.map(({ element, what, reader }) => `${element} ${what}, says ${reader}`);
      const outcomes = Object.fromEntries(recorder.counts);
      return { faults: lines, outcomes, figures: { reads, acknowledged } };
    },
  async tangle(ground, { plan, random, isOver, calm }) {
    const prefix = `tangle-${plan.seed}-`;
    const run = new TangleRun({ doors: doorsOf(ground), random, prefix, isOver });
    await run.prepare();
    return async () => {
      await run.run();
      await calm();
      const outcomes = Object.fromEntries(run.recorder.counts);
      return { faults: await run.check(), outcomes, figures: {} };
    };
  },
};

/** The last window is of calm times, so that everything is read once more. */
async function runKind<Call>(
  ground: Ground,
  kind: Kind<Call>,
  { plan, random, isOver, calm }: Work,
): Promise<Recorder<Call>> {
  const recorder = new Recorder<Call>({ believes: plan.believes ?? true });
  const common = { kind, doors: doorsOf(ground), random, recorder };
  await runClients({ ...common, isOver });
  await calm();
  return await runClients({ ...common, isOver: (windows) => windows === 1 });
}

function doorsOf(ground: Ground): Doors {
  return {
    get names() {
      return ground.running;
    },
    client: (name) => ground.client(name),
  };
}

function checked<State, Call>(
  { windows, counts }: Recorder<Call>,
  model: Model<State, Call>,
  histories: readonly { readonly key: string; readonly windows: readonly Window<Call>[] }[],
): Checked {
  const faults: string[] = [];
  let statesMax = 1;
  for (const history of histories) {
    const verdict = checkWindows(model, history.windows);
    if (verdict.kind === 'violation')
      faults.push(`${history.key}: ${violationLines(verdict).join('\n')}`);
    else if (verdict.kind === 'linearizable') statesMax = Math.max(statesMax, verdict.statesMax);
    else faults.push(`${history.key}: undecided from window ${verdict.window} on: too many orders`);
  }
  const outcomes = Object.fromEntries(counts);
  return { faults, outcomes, figures: { windows: windows.length, statesMax } };
}
