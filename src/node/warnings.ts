/** What the user of a node should know or do, one line each. */
import { formatScheme, toleranceOf } from '../base/index.ts';
import { type LayoutReport, reportLayout } from '../placement/index.ts';
import type { Core } from './core.ts';
import type { Heart } from './heart.ts';
import type { Keeper } from './keeper.ts';
import type { StoreSet } from './store-set.ts';

/** Losses that metadata bears: those of the default scheme. */
export const METADATA_TOLERANCE = 2;

export async function nodeWarnings(about: {
  heart: Heart;
  stores: StoreSet;
  keeper: Keeper;
}): Promise<readonly string[]> {
  const { heart, stores, keeper } = about;
  const lines: string[] = [];
  if (heart.waitsFor) lines.push(`the node waits: ${heart.waitsFor}`);
  for (const { path, reason, isDetached } of stores.slots) {
    if (isDetached) lines.push(`store ${path} is detached; back with: holdfast dev attach ${path}`);
    else if (reason) lines.push(`store ${path} is away: ${reason}`);
  }
  lines.push(...(await damagedStores(stores)));
  if (heart.core) {
    for (const name of heart.core.volumes.locked) {
      lines.push(`volume "${name}" cannot be opened: recover with a kit saved after it was made`);
    }
    lines.push(...machineReport(heart.core).relaxed, ...frailVolumes(heart.core));
  }
  const kit = await keeper.kitState();
  if (kit === 'none') {
    lines.push(`without a recovery kit, losing the data directory loses all keys: ${SAVE_KIT}`);
  } else if (kit === 'stale') {
    lines.push(`a volume was made since the recovery kit was saved; save it again: ${SAVE_KIT}`);
  }
  return lines;
}

/** Volumes that bear no loss at all, one line each. */
export function frailVolumes({ volumes }: Pick<Core, 'volumes'>): string[] {
  return volumes.records
    .filter(({ scheme }) => toleranceOf(scheme) === 0)
    .map(
      ({ name, scheme }) =>
        `volume "${name}" stores ${formatScheme(scheme)}: whatever store is lost, something is ` +
        `lost with it; add stores, then: holdfast volume policy ${name} --scheme copy-2`,
    );
}

async function damagedStores({ slots }: StoreSet): Promise<string[]> {
  const lines: string[] = [];
  for (const { open, path } of slots) {
    if (!open || (await open.store.describe()).damagedAtMs === 0) continue;
    lines.push(`store ${path} was found damaged, and may lack shards: holdfast repair`);
  }
  return lines;
}

/**
 * What the layout promises to the volume that bears least. That one machine is one machine need
 * not be said.
 */
export function machineReport({
  cluster,
  volumes,
}: Pick<Core, 'cluster' | 'volumes'>): LayoutReport {
  const tolerances = volumes.records.map(({ scheme }) => toleranceOf(scheme));
  const tolerance = Math.min(METADATA_TOLERANCE, ...tolerances);
  const report = reportLayout(cluster.layout(), cluster.topology(), { tolerance });
  return {
    ...report,
    survives: report.survives.filter(({ level }) => level !== 'server'),
    relaxed: report.relaxed.filter((line) => !/ share 1 server:/.test(line)),
  };
}

export const SAVE_KIT = 'holdfast key export FILE';
