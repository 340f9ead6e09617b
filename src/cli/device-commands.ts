/** Verbs about devices, the places that hold shards: dev list, add, query, remove. */
import path from 'node:path';
import type { DeviceView } from '../api/index.ts';
import { fields, shortId, sizeField, table } from './output.ts';
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
  addVerb(group, 'add', {
    summary: 'take a folder, an image file or a disk into use',
    details:
      'What is empty is formatted; a store of this cluster is attached with what it holds; ' +
      'anything else is refused.',
    args: { '<path>': 'where it is' },
    options: { '--capacity <size>': 'bytes it may use, such as 500G (default: what there is)' },
    examples: ['holdfast dev add /mnt/disk-1/holdfast', 'holdfast dev add ./image --capacity 10G'],
    action: async (session: Session, { capacity }: { capacity?: string }, place: string) => {
      const input = {
        path: session.resolve(place),
        ...(capacity === undefined ? {} : { capacityBytes: parseSize(capacity) }),
      };
      const device = await session.client.call('device.add', input, session);
      session.show(plainDevice(device), () => [`added ${device.id} at ${device.path}`]);
    },
  });
  addVerb(group, 'query', {
    summary: 'print what is known of a store',
    args: { '<device>': 'its id, the beginning of it, or its path' },
    examples: ['holdfast dev query 3f2a', 'holdfast dev query /mnt/disk-1/holdfast'],
    action: async (session: Session, _: object, name: string) => {
      const input = { device: deviceName(session, name) };
      const device = await session.client.call('device.query', input, session);
      session.show(device, () =>
        fields({
          id: device.id,
          path: device.path,
          kind: device.kind,
          state: device.state,
          reason: device.reason,
          size: sizeField(device.sizeBytes),
          used: sizeField(device.usedBytes),
          free: sizeField(device.freeBytes),
          chunks: device.chunkCount,
          'bad chunks': device.badChunkCount,
          direct: device.isDirect,
          ...device.fields,
        }),
      );
    },
  });
  addVerb(group, 'remove', {
    summary: 'take a store out of use',
    details: 'What it holds is made again on the other stores first.',
    args: { '<device>': 'its id, the beginning of it, or its path' },
    options: { '--force': 'let go of it at once; what only it holds is lost' },
    examples: ['holdfast dev remove 3f2a'],
    action: async (session: Session, { force = false }: { force?: boolean }, name: string) => {
      const input = { device: deviceName(session, name), isForced: force };
      const device = await session.client.call('device.remove', input, session);
      session.show(plainDevice(device), () => [`removed ${device.id} at ${device.path}`]);
    },
  });
}

/** A path is meant from here; the node stands elsewhere. */
function deviceName(session: Session, name: string): string {
  return name.includes(path.sep) || name === '.' || name === '..' ? session.resolve(name) : name;
}

function plainDevice({ id, path: place, kind, state, sizeBytes, usedBytes, reason }: DeviceView) {
  const plain = { id, path: place, kind, state, sizeBytes, usedBytes };
  return reason === undefined ? plain : { ...plain, reason };
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
