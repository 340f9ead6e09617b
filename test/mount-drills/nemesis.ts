/**
 * What happens to the nodes while a workload uses a mount: always less than the scheme bears, and
 * mended before the next trouble, so the workload may not see any of it as an error. With rs-4+2
 * writing waits meanwhile, for it needs one store more than reading (ruling 9); with rs-3+3
 * (`--scheme`) it goes on, and what was written is degraded until it is mended.
 *
 * - `stores`: the folders of two of the six stores are away for a while, and come back;
 * - `kill`: a node that serves no mount, with its two stores and its part in the metadata, is
 *   killed and started again.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pick } from '../e2e/content.ts';
import type { MountGround } from './ground.ts';

export const NEMESES = ['none', 'stores', 'kill'] as const;
export type NemesisName = (typeof NEMESES)[number];

const AWAY_MS = 8000;
const CALM_MS = 3000;

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
  await mounts.takeAway(lost);
  say(`away: ${lost.map((store) => path.basename(store)).join(' ')}`);
  await wait(AWAY_MS, signal);
  await mounts.bringBack(lost);
  say('both are back, and all is whole');
}

async function killNode({ mounts, random, say }: Nemesis, signal: AbortSignal): Promise<void> {
  const [name] = pick(random, { from: mounts.others, count: 1 });
  await mounts.ground.kill(name!);
  say(`killed ${name}`);
  await wait(AWAY_MS, signal);
  await mounts.ground.restart(name!);
  await mounts.untilMended();
  say(`${name} is back, and all is whole`);
}

/** Or until the signal. */
async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
