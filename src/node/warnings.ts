/** What the user of a node should know or do, one line each. */
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
  lines.push(...core.cluster.report().relaxed);
  if (await keeper.needsExport()) {
    lines.push('without a recovery kit, losing the data directory loses all keys: ' + SAVE_KIT);
  }
  return lines;
}

export const SAVE_KIT = 'holdfast key export FILE';
