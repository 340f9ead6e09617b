/** What the user of a node should know or do, one line each. */
import {
  errorCode,
  errorMessage,
  formatPolicy,
  type Policy,
  toleranceOf,
  widthOf,
} from '../base/index.ts';
import { type LayoutReport, reportLayout } from '../placement/index.ts';
import type { Core } from './core.ts';
import type { Heart } from './heart.ts';
import type { Keeper } from './keeper.ts';
import type { MetadataReporter } from './metadata-report.ts';
import { isLeaving, type Others } from './peers/others.ts';
import type { StoreSet } from './stores/store-set.ts';

/** Losses that metadata bears: those of the default scheme. */
export const METADATA_TOLERANCE = 2;

/** Volumes that a line names. */
const NAMES_MAX = 4;
/** Reads of old names are told of for so long. */
const STALE_TOLD_MS = 60_000;
const NO_MAJORITY =
  'the ring has no majority, or this node does not reach it; ' +
  'nothing can be changed until most of its nodes run and see each other';
const NO_ETCD = 'your etcd does not answer this node; nothing can be changed until it does';
/** As much of a node's id as commands need. */
const ID_CHARS = 8;

export async function nodeWarnings(about: {
  heart: Heart;
  stores: StoreSet;
  keeper: Keeper;
  others: Others;
  reporter: Pick<MetadataReporter, 'warnings'>;
}): Promise<readonly string[]> {
  const { heart, stores, keeper, reporter } = about;
  const lines: string[] = [];
  if (heart.waitsFor) lines.push(`the node waits: ${heart.waitsFor}`);
  if (isCutOff(about)) {
    lines.push('no other node answers; if this one was removed, it needs a new invitation');
  }
  if (!about.others.isHome && isLeaving(stores)) {
    lines.push(
      'this node is leaving, its stores take no more: holdfast leave goes on with it, ' +
        'and takes them back into use when it is broken off',
    );
  }
  for (const { path, reason, isDetached } of stores.slots) {
    if (isDetached) lines.push(`store ${path} is detached; back with: holdfast dev attach ${path}`);
    else if (reason) lines.push(`store ${path} is away: ${reason}`);
  }
  for (const { path } of await stores.damaged()) {
    lines.push(`store ${path} was found damaged, and may lack shards: holdfast repair`);
  }
  const full = heart.core?.metadata.fullStores?.();
  for (const { id, path } of stores.slots) {
    if (!id || !full?.has(id)) continue;
    const why = 'what is needed to find content again has a copy less: make room, or add stores';
    lines.push(`store ${path} is full, and takes no metadata: ${why}`);
  }
  if (heart.core) {
    if (heart.core.isContested()) {
      lines.push(
        "another node runs with this node's identity, a copy of its data directory: each ends " +
          "the other's puts; stop one of them, and have its machine join anew",
      );
    }
    if (heart.core.volumes.staleReadAgoMs < STALE_TOLD_MS) {
      const isNamed = about.others.metadataNode?.ring?.record?.named !== undefined;
      lines.push(`names are read as they were: ${isNamed ? NO_ETCD : NO_MAJORITY}`);
    }
    for (const { volume, reason } of heart.core.volumes.waitingWrites) {
      lines.push(`what is written to volume "${volume}" waits, and is tried again: ${reason}`);
    }
    lines.push(...lockedLines(heart.core.volumes.locked, about.others));
    lines.push(...machineReport(heart.core).relaxed, ...frailVolumes(heart.core));
    lines.push(...thinVolumes(heart.core));
  }
  lines.push(...(await volumesHeldByOne(about)), ...(await reporter.warnings()));
  // Who began the cluster is to make it; others that could are not asked for it as well.
  const kit = keeper.beganCluster ? await keeper.kitState() : 'current';
  if (kit === 'none') {
    lines.push(`without a recovery kit, losing the data directory loses all keys: ${SAVE_KIT}`);
  } else if (kit === 'stale') {
    lines.push(`a volume was made since the recovery kit was saved; save it again: ${SAVE_KIT}`);
  }
  return lines;
}

/** Why volumes cannot be opened here, and what to do. */
export function lockedLines(volumes: readonly string[], others: Others): string[] {
  if (others.isHome) {
    const reason = 'cannot be opened: recover with a kit saved after it was made';
    return volumes.map((volume) => `volume "${volume}" ${reason}`);
  }
  const why = 'this node holds shards, and has no grant; on one that has';
  const node = ownWord(others);
  const [volume] = volumes;
  if (volume === undefined) return [];
  if (volumes.length === 1) {
    return [`volume "${volume}" is locked: ${why}: holdfast volume grant ${volume} ${node}`];
  }
  return [`${namesOf(volumes)} are locked: ${why}: holdfast volume grant --all ${node}`];
}

/** What to call this node in a command: its name, unless another one has that as well. */
function ownWord({ config: { name }, part }: Others): string {
  const members = part?.network.members() ?? [];
  const self = part?.network.self;
  const isTaken = members.some((member) => member.node !== self && member.labels['name'] === name);
  return isTaken && self !== undefined ? self.slice(0, ID_CHARS) : name;
}

/** Of two volumes or more. */
function namesOf(volumes: readonly string[]): string {
  const told = volumes.slice(0, NAMES_MAX).map((name) => `"${name}"`);
  const more = volumes.length - told.length;
  return `volumes ${told.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** Whether a node that needs a home sees nobody at all. */
function isCutOff({ others }: { others: Others }): boolean {
  const members = others.part?.network.members() ?? [];
  return (
    others.part !== undefined && !others.isHome && !members.some(({ health }) => health === 'alive')
  );
}

/** Volumes whose keys one node alone holds though there are others, in a line. */
async function volumesHeldByOne(about: { heart: Heart; others: Others }): Promise<string[]> {
  const { core } = about.heart;
  if (!core || !about.others.part) return [];
  try {
    const { members, grants } = about.others.removal();
    if ((await members.list()).length < 2) return [];
    const holders = await grants.allHolders();
    const names = core.volumes.records
      .filter(({ id }) => (holders.get(id)?.size ?? 0) < 2)
      .map(({ name }) => name);
    const [name] = names;
    if (name === undefined) return [];
    const why = 'one node alone has the keys of';
    return names.length === 1
      ? [`${why} volume "${name}": holdfast volume grant ${name} NODE`]
      : [`${why} ${namesOf(names)}: holdfast volume grant --all NODE`];
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return [errorMessage(error)];
  }
}

/** Losses that the best of the encodings bears. */
function policyTolerance(policy: Policy): number {
  return Math.max(...policy.map(toleranceOf));
}

/** Volumes that bear no loss at all, one line each. */
export function frailVolumes({ volumes }: Pick<Core, 'volumes'>): string[] {
  return volumes.records
    .filter(({ policy }) => policyTolerance(policy) === 0)
    .map(
      ({ name, policy }) =>
        `volume "${name}" stores ${formatPolicy(policy)}: whatever store is lost, something is ` +
        `lost with it; add stores, then: holdfast volume policy ${name} --scheme copy-2`,
    );
}

/** Volumes that want more places than there are, one line each: they fill up when there are. */
export function thinVolumes({ cluster, volumes }: Pick<Core, 'cluster' | 'volumes'>): string[] {
  const inUse = cluster.topology().devices.filter(({ state }) => state === 'in');
  const nodeCount = new Set(inUse.map(({ id }) => cluster.nodeOf(id))).size;
  return volumes.records.flatMap(({ name, policy }) => {
    const near = policy.find(({ n, isNear }) => isNear && n > nodeCount);
    const wanted = near
      ? `${formatPolicy([near])} on ${near.n} nodes, and there are ${nodeCount}`
      : `${widthOf(policy)} stores for ${formatPolicy(policy)}, and there are ${inUse.length}`;
    if (!near && widthOf(policy) <= inUse.length) return [];
    return [`volume "${name}" wants ${wanted}: what it holds is degraded until there are more`];
  });
}

/**
 * What the layout promises to every volume: to each for as many shards as its own encodings have.
 * That one machine is one machine need not be said: wide levels that are one domain are left out.
 */
export function machineReport({
  cluster,
  volumes,
}: Pick<Core, 'cluster' | 'volumes'>): LayoutReport {
  const { epoch, levels, devices } = cluster.topology();
  const inUse = devices.filter(({ state }) => state === 'in');
  const isOneDomain = (i: number) => inUse.every(({ labels }) => labels[i] === inUse[0]!.labels[i]);
  const lastLevel = levels.length - 1;
  const start = levels.findIndex((_, i) => i === lastLevel || !isOneDomain(i));
  const told = inUse.map((device) => ({ ...device, labels: device.labels.slice(start) }));
  const topology = { epoch, levels: levels.slice(start), devices: told };
  const needs = needsOf(
    volumes.records.map(({ policy }) => policy),
    inUse.length,
  );
  const reports = needs.map((need) => reportLayout(cluster.layout(), topology, need));
  const [first] = reports;
  if (!first) return reportLayout(cluster.layout(), topology, { tolerance: METADATA_TOLERANCE });
  const survives = first.survives.map(({ level }, i) => {
    return { level, count: Math.min(...reports.map((report) => report.survives[i]!.count)) };
  });
  return { ...first, survives, relaxed: [...new Set(reports.flatMap(({ relaxed }) => relaxed))] };
}

interface Need {
  readonly width: number;
  readonly tolerance: number;
}

/**
 * Shards, and losses that they bear, of each volume's best encoding, each pair once. Of copies no
 * more than there are stores: that there are too few is said by {@link thinVolumes}.
 */
function needsOf(policies: readonly Policy[], storeCount: number): Need[] {
  const needs = new Map<string, Need>();
  for (const policy of policies) {
    const best = policy.find((scheme) => toleranceOf(scheme) === policyTolerance(policy))!;
    const missing = best.kind === 'copy' ? Math.max(0, best.n - storeCount) : 0;
    const width = best.n - missing;
    const tolerance = Math.min(METADATA_TOLERANCE, Math.max(0, toleranceOf(best) - missing));
    needs.set(`${width} ${tolerance}`, { width, tolerance });
  }
  return [...needs.values()];
}

export const SAVE_KIT = 'holdfast key export FILE';
