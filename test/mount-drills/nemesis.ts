/**
 * What happens to the nodes while a workload uses a mount: always less than the scheme bears, and
 * mended before the next trouble, so the workload may not see any of it as an error.
 *
 * - `stores`: the folders of two of the six stores are away for a while, and come back;
 * - `kill`: a node that serves no mount, with its two stores and its part in the metadata, is
 *   killed and started again.
 */
import fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { pick } from '../e2e/content.ts';
import { until } from '../e2e/harness.ts';
import type { MountGround } from './ground.ts';

export const NEMESES = ['none', 'stores', 'kill'] as const;
export type NemesisName = (typeof NEMESES)[number];

const AWAY_MS = 8000;
const CALM_MS = 3000;
/** Repair waits its turn behind what the workload asks for. */
const MENDED_MS_MAX = 10 * 60_000;

export interface Nemesis {
  readonly name: NemesisName;
  readonly mounts: MountGround;
  readonly random: () => number;
  readonly say: (line: string) => void;
}

/** Why these nodes cannot have that trouble; `undefined`: they can. */
export function nemesisObstacle(name: NemesisName, nodeCount: number): string | undefined {
  if (name !== 'kill' || nodeCount > 1) return undefined;
  return 'the one node serves the mount; see the workload "kill"';
}

/**
 * Runs the work in the midst of trouble. The first trouble begins with it, the last one is mended
 * when this resolves. @returns the result of the work, and how many troubles there were.
 */
export async function during<Result>(
  nemesis: Nemesis,
  work: () => Promise<Result>,
): Promise<{ result: Result; troubles: number }> {
  if (nemesis.name === 'none') return { result: await work(), troubles: 0 };
  const trouble = nemesis.name === 'stores' ? loseStores : killNode;
  const end = new AbortController();
  const troubles = (async () => {
    let count = 0;
    for (; !end.signal.aborted; count += 1) {
      await trouble(nemesis, end.signal);
      await wait(CALM_MS, end.signal);
    }
    return count;
  })();
  // A fault of the nemesis is told, but only after the work, which may be what has failed first.
  const [outcome, count] = await Promise.allSettled([work().finally(() => end.abort()), troubles]);
  if (outcome.status === 'rejected') throw outcome.reason;
  if (count.status === 'rejected') throw count.reason;
  return { result: outcome.value, troubles: count.value };
}

async function loseStores({ mounts, random, say }: Nemesis, signal: AbortSignal): Promise<void> {
  const lost = pick(random, { from: mounts.stores, count: 2 });
  for (const store of lost) await fs.rename(store, `${store}.away`);
  say(`away: ${lost.map((store) => store.split('/').at(-1)).join(' ')}`);
  await wait(AWAY_MS, signal);
  for (const store of lost) {
    await fs.rm(store, { recursive: true, force: true });
    await fs.rename(`${store}.away`, store);
  }
  await untilMended(mounts);
  say('both are back, and all is whole');
}

async function killNode({ mounts, random, say }: Nemesis, signal: AbortSignal): Promise<void> {
  const [name] = pick(random, { from: mounts.others, count: 1 });
  await mounts.ground.kill(name!);
  say(`killed ${name}`);
  await wait(AWAY_MS, signal);
  await mounts.ground.restart(name!);
  await untilMended(mounts);
  say(`${name} is back, and all is whole`);
}

/** Else the next loss would be one too many. */
async function untilMended(mounts: MountGround): Promise<void> {
  const isMended = async (): Promise<boolean> => {
    const { devices } = await mounts.health();
    if (devices.some(({ state }) => state !== 'active')) return false;
    await mounts.repair();
    const { stripes } = await mounts.health();
    return stripes.degraded + stripes.lost === 0;
  };
  await until('all stripes are whole again', isMended, MENDED_MS_MAX);
}

/** Or until the signal. */
async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
