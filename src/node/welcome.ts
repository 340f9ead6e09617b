/** What `up` tells the user who started the node. */
import { formatScheme, GiB } from '../base/index.ts';
import type { Core } from './core.ts';
import type { DataDirectory } from './data-directory.ts';
import type { StoreSet } from './store-set.ts';
import { machineReport, SAVE_KIT } from './warnings.ts';

export async function welcomeLines(about: {
  core: Core;
  stores: StoreSet;
  data: DataDirectory;
  isFirstRun: boolean;
}): Promise<readonly string[]> {
  const { core, stores, data, isFirstRun } = about;
  const alive = stores.alive();
  const volumes = (await core.volumes.list()).map(
    ({ record }) => `${record.name} (${formatScheme(record.scheme)})`,
  );
  const lines = [
    `Holdfast is up. Data: ${data.path}`,
    `Stores: ${alive.length} of ${stores.slots.length} here. Volumes: ${volumes.join(', ')}.`,
    ...core.volumes.locked.map((name) => `Volume "${name}" cannot be opened: the kit is older.`),
    ...machineReport(core).relaxed.map((line) => `Note: ${line}`),
  ];
  if (!isFirstRun) return lines;
  const sizes = await Promise.all(alive.map((store) => store.usage()));
  const total = sizes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return [
    ...lines,
    `New stores under ${data.storesPath}, ${(total / GiB).toFixed(1)} GiB in all, grown as needed.`,
    '',
    'Next, in another terminal:',
    '  holdfast put FILE        stores a file and prints its id',
    '  holdfast get ID          brings it back',
    `  ${SAVE_KIT}   saves the recovery kit: keep it apart from the stores`,
  ];
}
