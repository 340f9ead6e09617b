/** What the user of a node should know or do, one line each. */
import type { LayoutReport } from '../placement/index.ts';
import type { Core } from './core.ts';
import type { Keeper } from './keeper.ts';
import type { StoreSet } from './store-set.ts';

export async function nodeWarnings(about: {
  core: Core;
  stores: StoreSet;
  keeper: Keeper;
}): Promise<readonly string[]> {
  const { core, stores, keeper } = about;
  const lines: string[] = [];
  for (const { path, reason } of stores.slots) {
    if (reason) lines.push(`store ${path} is away: ${reason}`);
  }
  for (const name of core.volumes.locked) {
    lines.push(`volume "${name}" cannot be opened: recover with a kit saved after it was made`);
  }
  lines.push(...machineReport(core).relaxed);
  const kit = await keeper.kitState();
  if (kit === 'none') {
    lines.push(`without a recovery kit, losing the data directory loses all keys: ${SAVE_KIT}`);
  } else if (kit === 'stale') {
    lines.push(`a volume was made since the recovery kit was saved; save it again: ${SAVE_KIT}`);
  }
  return lines;
}

/** What the layout promises. That one machine is one machine need not be said. */
export function machineReport({ cluster }: Pick<Core, 'cluster'>): LayoutReport {
  const report = cluster.report();
  return {
    ...report,
    survives: report.survives.filter(({ level }) => level !== 'server'),
    relaxed: report.relaxed.filter((line) => !/ share 1 server:/.test(line)),
  };
}

export const SAVE_KIT = 'holdfast key export FILE';
