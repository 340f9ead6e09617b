/** What the control interface shows of the things behind it: plain JSON, no branded types. */
import type {
  DeviceView,
  HealthView,
  ObjectView,
  PlaceView,
  PutAnswer,
  VolumeView,
} from '../api/index.ts';
import { formatScheme } from '../base/index.ts';
import type { LayoutReport } from '../placement/index.ts';
import type { HealthSummary } from '../repair/index.ts';
import type { ObjectInfo, PutReport, StripePlaces } from '../volume/index.ts';
import type { VolumeStatus } from './admin-parts.ts';

export function objectView(info: ObjectInfo): ObjectView {
  return {
    id: info.id,
    key: info.key ?? null,
    fileName: info.fileName,
    mediaType: info.mediaType,
    sizeBytes: info.sizeBytes,
    address: info.address,
    scheme: formatScheme(info.scheme),
    createdAtMs: info.createdAtMs,
  };
}

export function putAnswer(report: PutReport): PutAnswer {
  return {
    object: objectView(report.info),
    stripeCount: report.stripeCount,
    knownStripes: report.knownStripes,
    degradedTo: report.degradedTo ?? null,
  };
}

export function placeView(places: StripePlaces): PlaceView {
  return {
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

export function volumeView({ record, objectCount, contentBytes }: VolumeStatus): VolumeView {
  return {
    id: record.id,
    name: record.name,
    scheme: formatScheme(record.scheme),
    isDeduplicating: record.isDeduplicating,
    objectCount,
    contentBytes,
  };
}

export function healthView(
  summary: HealthSummary,
  { devices, layout }: { devices: readonly DeviceView[]; layout: LayoutReport },
): HealthView {
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
    survives: layout.survives,
    warnings: [...away, ...fullness(devices), ...layout.relaxed],
  };
}

/** Stores that are above what they should hold, one line each. */
export function fullness(devices: readonly DeviceView[]): string[] {
  return devices.flatMap(({ path, pressure }) => {
    if (pressure === 'high') return [`store ${path} is above its max: free some, or add a store`];
    if (pressure === 'full') return [`store ${path} is full: it takes no shards any more`];
    return [];
  });
}
