/** What `up` tells the user who started the node. */
import { formatPolicy, GiB } from '../base/index.ts';
import { formatAddress } from '../net/index.ts';
import type { DataDirectory } from './data-directory.ts';
import type { Heart } from './heart.ts';
import type { Others } from './peers/others.ts';
import type { StoreSet } from './stores/store-set.ts';
import { lockedLines, machineReport, SAVE_KIT } from './warnings.ts';

export async function welcomeLines(about: {
  heart: Heart;
  stores: StoreSet;
  data: DataDirectory;
  others: Others;
  /** Where the control interface listens, beside its socket. */
  address: string | undefined;
  isFirstRun: boolean;
  /** Of a recovery: what was not brought back. */
  notes: readonly string[];
}): Promise<readonly string[]> {
  const { heart, stores, data, others, address, isFirstRun, notes } = about;
  const { core } = heart;
  const place = [
    `Holdfast is up. Data: ${data.path}`,
    ...(address === undefined ? [] : [`It listens on ${address}, for who has its token.`]),
    ...successionLines(others),
  ];
  if (!core) return [...place, `It waits: ${heart.waitsFor}`];
  const alive = stores.alive();
  const volumes = (await core.volumes.list()).map(
    ({ record }) => `${record.name} (${formatPolicy(record.policy)})`,
  );
  const lines = [
    ...place,
    `Stores: ${alive.length} of ${stores.slots.length} here. Volumes: ${volumes.join(', ')}.`,
    ...lockedLines(core.volumes.locked, others).map((line) => `Note: ${line}`),
    ...notes.map((line) => `Note: ${line}`),
    ...machineReport(core).relaxed.map((line) => `Note: ${line}`),
  ];
  if (!isFirstRun) return lines;
  const sizes = await Promise.all(alive.map((store) => store.usage()));
  const total = sizes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return [
    ...lines,
    `New stores: ${(total / GiB).toFixed(1)} GiB in all.`,
    '',
    'Next, in another terminal:',
    '  holdfast put FILE        stores a file and prints its id',
    '  holdfast get ID          brings it back',
    `  ${SAVE_KIT}   saves the recovery kit: keep it apart from the stores`,
  ];
}

/** After a recovery: what this node is now, and where the others find it. */
function successionLines({ succession, config, part }: Others): string[] {
  if (!succession) return [];
  const { former, hasFollowers } = succession;
  const levels = Object.entries(config.labels).map(([level, name]) => `${level} ${name}`);
  const who = [config.name, ...levels].join(', ');
  const where = (part?.reachable ?? []).map(formatAddress).join(' ');
  return [
    ...(former ? [`It takes the place of the node ${former.name}, as: ${who}.`] : []),
    ...(hasFollowers && where !== ''
      ? [`It listens for the other nodes on ${where}; one that does not find it: neigh_add there.`]
      : []),
  ];
}
