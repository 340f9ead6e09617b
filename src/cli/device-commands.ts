/**
 * Verbs about devices, the places that hold shards: dev list, add, query, limits, remove, detach,
 * attach.
 */
import path from 'node:path';
import type { DeviceChange, DeviceDetails, DeviceView } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import { addCheckVerbs } from './check-commands.ts';
import { fields, isoDate, shortId, sizeField, table } from './output.ts';
import type { Session } from './session.ts';
import { formatSize, parseSize } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

export function addDeviceCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'dev', 'add, list and remove stores');
  addVerb(group, 'list', {
    summary: 'list the stores of the node',
    examples: ['holdfast dev list', 'holdfast dev list --json'],
    action: async (session: Session) => {
      const devices = await session.client.call('device.list', {}, session);
      session.show(devices.map(plainDevice), () => deviceTable(devices));
    },
  });
  addAddVerb(group);
  addQueryVerbs(group);
  addVerb(group, 'remove', {
    summary: 'take a store out of use',
    details: 'What it holds is made again on the other stores first.',
    args: { '<device>': 'its id, the beginning of it, or its path' },
    options: { '--force': 'let go of it at once; what only it holds is lost' },
    examples: ['holdfast dev remove 3f2a'],
    action: async (session: Session, { force = false }: { force?: boolean }, name: string) => {
      const input = { device: deviceName(session, name), isForced: force };
      const device = await session.client.call('device.remove', input, session);
      showDone(session, 'removed', device);
    },
  });
  addVerb(group, 'detach', {
    summary: 'close a store and leave its disk alone, until it is attached again',
    details: 'What it holds stays on it; objects that need it cannot be read meanwhile.',
    args: { '<device>': 'its id, the beginning of it, or its path' },
    hasServer: true,
    examples: ['holdfast dev detach /dev/sdb'],
    action: async (session: Session, _: object, name: string) => {
      const input = { device: deviceName(session, name) };
      const device = await session.client.call('device.detach', input, session);
      showDone(session, 'detached', device);
    },
  });
  addVerb(group, 'attach', {
    summary: 'take a store into use that is there already; nothing is ever formatted',
    args: { '<path>': 'where it is' },
    hasServer: true,
    examples: ['holdfast dev attach /dev/sdb'],
    action: async (session: Session, _: object, place: string) => {
      const input = { path: session.resolve(place), isNew: false };
      const device = await session.client.call('device.add', input, session);
      showDone(session, 'attached', device);
    },
  });
  addCheckVerbs(group);
}

interface LimitOptions {
  readonly min?: string;
  readonly max?: string;
  readonly hardMax?: string;
}

const LIMIT_FLAGS = {
  '--min <size>': 'below this it may be filled with what is wanted elsewhere (0: no limit)',
  '--max <size>': 'above this it should be freed, and status warns (0: no limit)',
  '--hard-max <size>': 'it never takes more than this (0: no limit)',
};

function limitsOf({ min, max, hardMax }: LimitOptions) {
  return {
    ...(min === undefined ? {} : { minBytes: parseSize(min) }),
    ...(max === undefined ? {} : { maxBytes: parseSize(max) }),
    ...(hardMax === undefined ? {} : { hardMaxBytes: parseSize(hardMax) }),
  };
}

interface AddOptions extends LimitOptions {
  readonly capacity?: string;
  readonly image?: boolean;
  readonly force?: boolean;
  readonly replaceStore?: boolean;
  readonly label?: string;
}

function addAddVerb(group: Verbs): void {
  addVerb(group, 'add', {
    summary: 'take a folder, an image file or a disk into use',
    details:
      'What is empty is formatted; a store of this cluster is attached with what it holds; ' +
      'anything else is refused. What is mounted or in use is refused even with --force.',
    args: { '<path>': 'where it is; a folder is made when nothing is there' },
    options: {
      '--capacity <size>': 'bytes that a folder or a new image may use, such as 500G',
      '--image': 'make an image file where nothing is; needs --capacity',
      '--force': 'format it although it holds something that is not ours',
      '--replace-store': 'with --force: format it although it is a store, whose chunks are lost',
      '--label <text>': 'a name for people, up to 64 bytes',
      ...LIMIT_FLAGS,
    },
    hasServer: true,
    examples: [
      'holdfast dev add /mnt/disk-1/holdfast',
      'holdfast dev add /dev/sdb --hard-max 3500G',
      'holdfast dev add ./image --image --capacity 10G',
    ],
    action: async (session: Session, options: AddOptions, place: string) => {
      const { capacity, image, force = false, replaceStore = false, label } = options;
      if (replaceStore && !force) {
        throw new HoldfastError('HF_BAD_ARGUMENT', '--replace-store goes with --force');
      }
      const input = {
        path: session.resolve(place),
        isForced: force,
        replacesStore: replaceStore,
        ...(image ? { kind: 'image' as const } : {}),
        ...(capacity === undefined ? {} : { capacityBytes: parseSize(capacity) }),
        ...(label === undefined ? {} : { label }),
        ...limitsOf(options),
      };
      const device = await session.client.call('device.add', input, session);
      showDone(session, 'added', device);
    },
  });
}

function addQueryVerbs(group: Verbs): void {
  addVerb(group, 'query', {
    summary: 'print what is known of a store',
    args: { '<device>': 'its id, the beginning of it, or its path' },
    hasServer: true,
    examples: ['holdfast dev query 3f2a', 'holdfast dev query /dev/sdb'],
    action: async (session: Session, _: object, name: string) => {
      const input = { device: deviceName(session, name) };
      const device = await session.client.call('device.query', input, session);
      session.show(device, () => detailLines(device));
    },
  });
  addVerb(group, 'limits', {
    summary: 'print the limits of a store, or set them',
    details: 'min < max < hard max, all of what is used, the index and the journal included.',
    args: { '<device>': 'its id, the beginning of it, or its path' },
    options: LIMIT_FLAGS,
    hasServer: true,
    examples: ['holdfast dev limits /dev/sdb --max 3T --hard-max 3500G'],
    action: async (session: Session, options: LimitOptions, name: string) => {
      const input = { device: deviceName(session, name), ...limitsOf(options) };
      const device = await session.client.call('device.limits', input, session);
      const { id, limits, usedBytes, pressure } = device;
      session.show({ id, ...limits, usedBytes, pressure }, () =>
        fields({ ...limitFields(device), used: sizeField(usedBytes), pressure }),
      );
    },
  });
}

function detailLines(device: DeviceDetails): string[] {
  const { limits, scrubbedAtMs, scrubCursor, damagedAtMs, isDirect } = device;
  const hasLimits = Object.values(limits).some((bytes) => bytes > 0);
  return fields({
    id: device.id,
    path: device.path,
    kind: device.kind,
    state: device.state,
    reason: device.reason,
    size: sizeField(device.sizeBytes),
    used: sizeField(device.usedBytes),
    free: sizeField(device.freeBytes),
    ...(hasLimits ? limitFields(device) : {}),
    pressure: device.pressure,
    chunks: device.chunkCount,
    'bad chunks': device.badChunkCount,
    transfers: isDirect ? 'direct' : 'buffered: the filesystem refuses direct transfers',
    'last scrub': scrubbedAtMs > 0 ? isoDate(scrubbedAtMs) : 'never',
    'scrub is at': scrubCursor > 0 ? `block ${scrubCursor}` : undefined,
    damaged: damagedAtMs > 0 ? `found at ${isoDate(damagedAtMs)}: holdfast repair` : undefined,
    ...device.fields,
  });
}

function limitFields({ limits: { minBytes, maxBytes, hardMaxBytes } }: DeviceDetails) {
  const limit = (bytes: number) => (bytes > 0 ? sizeField(bytes) : 'none');
  return { min: limit(minBytes), max: limit(maxBytes), 'hard max': limit(hardMaxBytes) };
}

function showDone(session: Session, done: string, device: DeviceChange): void {
  session.show(plainDevice(device), () => [`${done} ${device.id} at ${device.path}`]);
  showWarnings(session, device);
}

/** What the user should know of a change; with `--json` it is in the result. */
export function showWarnings(session: Session, { warnings }: DeviceChange): void {
  if (session.isJson) return;
  session.note(...warnings.map((line) => `holdfast: warning: ${line}`));
}

/** A path is meant from here; the node stands elsewhere. */
export function deviceName(session: Session, name: string): string {
  return name.includes(path.sep) || name === '.' || name === '..' ? session.resolve(name) : name;
}

/** Without what a later version of the node may say besides. */
function plainDevice(device: DeviceView | DeviceChange) {
  const { id, path: place, kind, state, sizeBytes, usedBytes, reason, pressure } = device;
  return {
    id,
    path: place,
    kind,
    state,
    sizeBytes,
    usedBytes,
    ...(reason === undefined ? {} : { reason }),
    ...(pressure === undefined ? {} : { pressure }),
    ...('warnings' in device ? { warnings: device.warnings } : {}),
  };
}

export function deviceTable(devices: readonly DeviceView[]): string[] {
  const rows = devices.map((device) => [
    shortId(device.id),
    device.state,
    formatSize(device.sizeBytes),
    formatSize(device.usedBytes),
    device.kind,
    device.reason === undefined ? device.path : `${device.path} (${device.reason})`,
  ]);
  return table(['id', 'state', 'size', 'used', 'kind', 'path'], rows, { right: ['size', 'used'] });
}
