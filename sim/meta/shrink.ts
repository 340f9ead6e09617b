/**
 * Makes a failing plan smaller: leaves out troubles, calls and badness as long as it still fails in
 * the same way. What is left is seldom the least, but it can be read.
 */
import type { Plan } from './plan.ts';
import type { RunResult } from './run.ts';

/** Runs that one shrinking may take. */
const RUNS_MAX = 600;

/** A part of a plan that can be left out. */
type Unit =
  | { readonly kind: 'trouble'; readonly index: number }
  | { readonly kind: 'put'; readonly index: number }
  | { readonly kind: 'call'; readonly client: number; readonly index: number }
  | { readonly kind: 'rate'; readonly name: RateName };

const CALM = {
  loss: (plan: Plan): Plan => ({ ...plan, net: { ...plan.net, loss: 0 } }),
  doubling: (plan: Plan): Plan => ({ ...plan, net: { ...plan.net, doubling: 0 } }),
  lateness: (plan: Plan): Plan => ({ ...plan, net: { ...plan.net, lateness: 0 } }),
  log: (plan: Plan): Plan => ({
    ...plan,
    log: { ...plan.log, lostReplyPercent: 0, lostRequestPercent: 0, overtakingPercent: 0 },
  }),
  clocks: (plan: Plan): Plan => ({ ...plan, clockRates: plan.clockRates.map(() => 1) }),
  replicas: (plan: Plan): Plan => ({ ...plan, hasReplicas: false }),
  commits: (plan: Plan): Plan => ({ ...plan, commitDelayMsMax: 0 }),
} as const;

type RateName = keyof typeof CALM;

function unitsOf(plan: Plan): Unit[] {
  return [
    ...Object.keys(CALM).map((name): Unit => ({ kind: 'rate', name: name as RateName })),
    ...plan.troubles.map((_, index): Unit => ({ kind: 'trouble', index })),
    ...plan.puts.map((_, index): Unit => ({ kind: 'put', index })),
    ...plan.clients.flatMap((calls, client) =>
      calls.map((_, index): Unit => ({ kind: 'call', client, index })),
    ),
  ];
}

/** The plan with nothing but these of its units. */
function reduced(plan: Plan, kept: ReadonlySet<Unit>, units: readonly Unit[]): Plan {
  const left = units.filter((unit) => kept.has(unit));
  const hasTrouble = new Set(left.flatMap((u) => (u.kind === 'trouble' ? [u.index] : [])));
  const hasPut = new Set(left.flatMap((u) => (u.kind === 'put' ? [u.index] : [])));
  const hasCall = new Set(
    left.flatMap((u) => (u.kind === 'call' ? [`${u.client} ${u.index}`] : [])),
  );
  const small: Plan = {
    ...plan,
    troubles: plan.troubles.filter((_, index) => hasTrouble.has(index)),
    puts: plan.puts.filter((_, index) => hasPut.has(index)),
    clients: plan.clients.map((calls, client) =>
      calls.filter((_, index) => hasCall.has(`${client} ${index}`)),
    ),
  };
  const calmed = units.filter((unit) => unit.kind === 'rate' && !kept.has(unit));
  return calmed.reduce(
    (calm, unit) => (unit.kind === 'rate' ? CALM[unit.name](calm) : calm),
    small,
  );
}

/** What a failure is, without its particulars. */
function kindOf(failure: string | undefined): string | undefined {
  return failure?.replace(/[:0-9].*$/s, '');
}

/** @param run of a plan. @returns the smallest result that fails as the first one does. */
export async function shrink(
  first: RunResult,
  run: (plan: Plan) => Promise<RunResult>,
): Promise<RunResult> {
  const units = unitsOf(first.plan);
  let kept: readonly Unit[] = units;
  let best = first;
  let runs = 0;
  for (let size = Math.ceil(units.length / 2); size >= 1 && runs < RUNS_MAX;) {
    let hasShrunk = false;
    for (let from = 0; from < kept.length && runs < RUNS_MAX;) {
      const fewer = kept.filter((_, index) => index < from || index >= from + size);
      runs += 1;
      const result = await run(reduced(first.plan, new Set(fewer), units));
      if (kindOf(result.failure) === kindOf(first.failure)) {
        kept = fewer;
        best = result;
        hasShrunk = true;
      } else from += size;
    }
    if (size > 1) size = Math.ceil(size / 2);
    else if (!hasShrunk) break;
  }
  return best;
}
