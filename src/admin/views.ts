/** What the control interface shows of the things behind it: plain JSON, no branded types. */
import type {
  DeviceView,
  HealthView,
  ListedView,
  NodeView,
  ObjectView,
  PlaceView,
  PutAnswer,
  RepairStatusView,
  StorePlaceView,
  VolumeView,
} from '../api/index.ts';
import { formatPolicy, formatScheme } from '../base/index.ts';
import type { LayoutReport } from '../placement/index.ts';
import type { HealthSummary, RepairStatus } from '../repair/index.ts';
import type { ListedFile, ObjectInfo, PutReport, StripePlaces } from '../volume/index.ts';
import type { VolumeStatus } from './admin-parts.ts';

export function objectView(info: ObjectInfo): ObjectView {
  return {
    id: info.id,
    key: info.key ?? null,
    fileName: info.fileName,
    mediaType: info.mediaType,
    sizeBytes: info.sizeBytes,
    address: info.address,
    scheme: formatPolicy(info.policy),
    createdAtMs: info.createdAtMs,
  };
}

export function listedView({ mode, modifiedAtMs, ...info }: ListedFile): ListedView {
  return { ...objectView(info), mode, modifiedAtMs };
}

export function putAnswer(report: PutReport): PutAnswer {
  return {
    object: objectView(report.info),
    stripeCount: report.stripeCount,
    knownStripes: report.knownStripes,
    degradedTo: report.degradedTo ?? null,
  };
}

/** @param about where all stores stand, and which rules could not be kept. */
export function placeView(
  places: StripePlaces,
  about: {
    readonly places: Readonly<Record<string, StorePlaceView>>;
    readonly relaxed: readonly string[];
  },
): PlaceView {
  const named = new Set(
    places.shards.flatMap(({ wantedAt, foundAt, badAt }) => [wantedAt, ...foundAt, ...badAt]),
  );
  const stores = Object.entries(about.places).filter(([id]) => named.has(id as never));
  return {
    stores: Object.fromEntries(stores),
    relaxed: [...withoutPlace(places), ...about.relaxed],
    encoding: places.encoding,
    offset: places.offset,
    lengthBytes: places.lengthBytes,
    scheme: formatScheme(places.scheme),
    spareCount: places.spareCount,
    shards: places.shards.map(({ shardIndex, wantedAt, foundAt, badAt }) => ({
      shardIndex,
      wantedAt: wantedAt ?? null,
      foundAt,
      badAt,
    })),
  };
}

/** Why shards are wanted nowhere, in a line. */
function withoutPlace({ shards, scheme }: StripePlaces): string[] {
  const count = shards.filter(({ wantedAt }) => wantedAt === undefined).length;
  if (count === 0) return [];
  const words =
    count === 1 ? '1 shard has no place of its own' : `${count} shards have no place of their own`;
  const why = `wants ${scheme.n} stores, and fewer take shards`;
  return [`${words} (wanted -): ${formatScheme(scheme)} ${why}; add stores`];
}

export function volumeView({ record, objectCount, contentBytes }: VolumeStatus): VolumeView {
  return {
    id: record.id,
    name: record.name,
    scheme: formatPolicy(record.policy),
    worm: record.retention ? { retentionMs: record.retention.retentionMs ?? null } : null,
    isReencoding: record.reencodedBy !== undefined,
    isDeduplicating: record.isDeduplicating,
    objectCount,
    contentBytes,
  };
}

export function healthView(
  summary: HealthSummary,
  about: {
    readonly devices: readonly DeviceView[];
    readonly nodes: readonly NodeView[];
    readonly repair: RepairStatusView | null;
    readonly layout: LayoutReport;
  },
): HealthView {
  const { devices, nodes, repair, layout } = about;
  const { stripes, bySpare, misplaced, unnamedChunks, badChunks } = summary;
  const away = devices
    .filter(({ state }) => state === 'missing' || state === 'failed')
    .map(({ path, state, reason }) => `store ${path} is ${state}${reason ? `: ${reason}` : ''}`);
  return {
    stripes,
    bySpare,
    misplaced,
    unnamedChunks,
    badChunks,
    devices,
    nodes,
    repair,
    survives: layout.survives,
    warnings: [...away, ...fullness(devices), ...nodesAway(nodes), ...layout.relaxed],
  };
}

export function repairStatusView(status: RepairStatus | undefined): RepairStatusView | null {
  if (!status) return null;
  const { startedAtMs = null, leftMs = null, lastRepairAtMs = null } = status;
  return { ...status, startedAtMs, leftMs, lastRepairAtMs };
}

/** Nodes that do not answer, one line each. */
export function nodesAway(nodes: readonly NodeView[]): string[] {
  return nodes
    .filter(({ state }) => state === 'suspect' || state === 'dead' || state === 'unknown')
    .map(({ id, name, state, carriesNames, storeCount }) => {
      const shortId = id.slice(0, 8);
      const called = name === shortId ? name : `${name} (${shortId})`;
      const who = `node ${called} is ${state === 'unknown' ? 'away' : state}`;
      if (carriesNames) {
        return `${who}: it carries the names; nothing can be opened until it is back`;
      }
      return `${who}, with ${storeCount} store${storeCount === 1 ? '' : 's'}`;
    });
}

/** Stores that are above what they should hold, one line each. */
export function fullness(devices: readonly DeviceView[]): string[] {
  return devices.flatMap(({ path, pressure }) => {
    if (pressure === 'high') return [`store ${path} is above its max: free some, or add a store`];
    if (pressure === 'full') return [`store ${path} is full: it takes no shards any more`];
    return [];
  });
}
