/**
 * The verbs of ddfs, with its flags and its output: lines `name : value`, one to a field. What they
 * do is done by the ordinary verbs' methods; docs/operate/disks.md says which is which. `put`,
 * `get` and `query` are the ordinary verbs, which take ddfs's flags as well.
 */
import type { DeviceChange, DeviceDetails, LocationView } from '../api/index.ts';
import { errorCode, HoldfastError } from '../base/index.ts';
import { addressText, DEFAULT_PORT, serverAddress } from './address.ts';
import { startInBackground } from './background-node.ts';
import { deviceName, showWarnings } from './device-commands.ts';
import { stopNode } from './node-commands.ts';
import type { Session } from './session.ts';
import { addVerb, underHeading, type Verbs } from './verbs.ts';

interface DeviceOption {
  /** Needed; an option, because ddfs has it so. */
  readonly device?: string;
}

interface ObjectOptions {
  readonly volume: string;
  readonly id: string;
}

const DEVICE_FLAG = { '-d, --device <device>': 'its path (needed)' };

export function addDdfsCommands(allVerbs: Verbs): void {
  const verbs = underHeading(allVerbs, 'Verbs of ddfs:');
  addDeviceVerbs(verbs);
  addServerVerbs(verbs);
  addNeighbourVerbs(verbs);
  addVerb(verbs, 'delete', {
    summary: 'remove an object by its id; see rm',
    options: { '-i, --id <id>': 'its id (needed)' },
    hasVolume: true,
    hasServer: true,
    examples: ['holdfast delete -i $id'],
    action: async (session: Session, { volume, id }: Partial<ObjectOptions>) => {
      const named = { volume: volume ?? 'default', id: needed(id, '-i') };
      await byId(named.id, () =>
        session.client.call(
          'object.remove',
          { volume: named.volume, reference: named.id },
          session,
        ),
      );
    },
  });
}

function addDeviceVerbs(verbs: Verbs): void {
  addVerb(verbs, 'dev_add', {
    summary: 'attach a device that was formatted, with all that it holds; see dev add',
    options: {
      ...DEVICE_FLAG,
      '-f, --force': 'format it first; what is mounted, in use or a store is refused all the same',
    },
    hasServer: true,
    examples: ['holdfast dev_add -d /dev/sdb -f', 'holdfast dev_add -d /dev/sdb'],
    action: async (
      session: Session,
      { device, force = false }: DeviceOption & { force?: boolean },
    ) => {
      const path = session.resolve(needed(device, '-d'));
      const input = { path, isNew: force, isForced: force };
      const added = await session.client.call('device.add', input, session);
      showChange(session, added);
    },
  });
  addVerb(verbs, 'dev_rem', {
    summary: 'let go of a device: its objects move to the others, or wait for its return',
    details:
      'Where the others cannot take all, it is detached as it is, and a warning says how many ' +
      'objects cannot be read until dev_add brings it back.',
    options: DEVICE_FLAG,
    hasServer: true,
    examples: ['holdfast dev_rem -d /dev/sdb'],
    action: async (session: Session, { device }: DeviceOption) => {
      showChange(session, await letGo(session, deviceName(session, needed(device, '-d'))));
    },
  });
  addVerb(verbs, 'dev_query', {
    summary: 'print the size and the layout of a device; see dev query',
    details:
      'size = blocks · bsize, used_size = used_blocks · bsize, used_size + free_size = size.',
    options: DEVICE_FLAG,
    hasServer: true,
    examples: ['holdfast dev_query -d /dev/sdb'],
    action: async (session: Session, { device }: DeviceOption) => {
      const input = { device: deviceName(session, needed(device, '-d')) };
      const fields = deviceFields(await session.client.call('device.query', input, session));
      session.show(fields, () => plainFields(fields));
    },
  });
}

function addServerVerbs(verbs: Verbs): void {
  addVerb(verbs, 'srv_start', {
    summary: 'start a node in the background, and wait until it answers; see up',
    details:
      'A new data directory gets no stores: dev_add brings them. What the node prints goes to ' +
      'holdfast.out in its data directory.',
    options: {
      '-s, --server <ip>': 'loopback address to listen on (default: 127.0.0.1)',
      '-p, --port <port>': 'port to listen on (default: 9111)',
    },
    examples: ['holdfast srv_start -s 127.0.0.1 -p 9111'],
    action: async (session: Session, options: { server?: string; port?: string }) => {
      const address = serverAddress({ port: DEFAULT_PORT, ...options })!;
      const flags = ['--no-stores', '--listen', addressText(address)];
      const started = await startInBackground(session, flags);
      const shown = { ...started, address: addressText(address) };
      session.show(shown, () => [
        `the node, process ${shown.processId}, listens on ${shown.address}`,
      ]);
    },
  });
  addVerb(verbs, 'srv_stop', {
    summary: 'stop the node, and wait until it has stopped; see down',
    hasServer: true,
    examples: ['holdfast srv_stop'],
    action: stopNode,
  });
}

function addNeighbourVerbs(verbs: Verbs): void {
  addVerb(verbs, 'neigh_add', {
    summary: 'meet a node of the cluster at its address; new ones come with invite and join',
    args: { '<address>': 'such as tls://10.0.0.7:7450' },
    hasServer: true,
    examples: ['holdfast neigh_add tls://10.0.0.7:7450'],
    action: async (session: Session, _: object, address: string) => {
      const node = await session.client.call('peers.connect', { address }, session);
      session.show(node, () => [`met ${node.name}, ${node.id}`]);
    },
  });
  addVerb(verbs, 'neigh_remove', {
    summary: 'take a dead node out of the cluster; see node remove',
    args: { '<node>': 'its name, its id or the beginning of it' },
    hasServer: true,
    examples: ['holdfast neigh_remove berlin-2'],
    action: async (session: Session, _: object, node: string) => {
      const removed = await session.client.call('node.remove', { node }, session);
      session.show(removed, () => []);
    },
  });
  addVerb(verbs, 'neigh_info', {
    summary: 'list the nodes of the cluster; see peers',
    hasServer: true,
    examples: ['holdfast neigh_info'],
    action: async (session: Session) => {
      const nodes = await session.client.call('peers.list', {}, session);
      session.show(nodes, () =>
        nodes.flatMap(({ id, name, state, addresses }) =>
          plainFields({ node: id, name, state, address: addresses.join(' ') || null }),
        ),
      );
    },
  });
}

/** As ddfs prints an object, and where it begins; `-` where it has no bytes on any store here. */
export async function queryAsDdfs(session: Session, { volume, id }: ObjectOptions): Promise<void> {
  const input = { volume, reference: id };
  const found = await byId(id, () => session.client.call('object.locate', input, session));
  const fields = objectFields(found);
  session.show(fields, () => plainFields(fields));
}

function objectFields({ object, device, storeId, block, blockBytes }: LocationView) {
  return {
    obj_id: object.id,
    size: object.sizeBytes,
    block,
    bsize: blockBytes,
    device,
    sb_id: storeId,
  };
}

function deviceFields(device: DeviceDetails) {
  const { blockBytes } = device;
  return {
    dev_name: device.path,
    major: device.deviceNumber.major,
    minor: device.deviceNumber.minor,
    sb_id: device.id,
    size: device.sizeBytes,
    used_size: device.usedBytes,
    free_size: device.sizeBytes - device.usedBytes,
    bsize: blockBytes,
    blocks: device.sizeBytes / blockBytes,
    used_blocks: device.usedBytes / blockBytes,
    inodes_tree_block: device.indexRootBlock,
    bm_block: device.bitmap.startBlock,
    bm_blocks: device.bitmap.blockCount,
  };
}

function plainFields(values: Readonly<Record<string, string | number | null>>): string[] {
  return Object.entries(values).map(([name, value]) => `${name} : ${value ?? '-'}`);
}

/** Moves what the device holds to the others if they can take it, else keeps it as it is. */
async function letGo(session: Session, device: string): Promise<DeviceChange> {
  const { client } = session;
  const devices = await client.call('device.list', {}, session);
  const isIt = ({ id, path }: { id: string; path: string }) =>
    path === device || id.startsWith(device);
  if (devices.some((each) => each.state === 'active' && !isIt(each))) {
    try {
      return await client.call('device.remove', { device }, session);
    } catch (error) {
      if (errorCode(error) !== 'HF_TOO_FEW_STORES') throw error;
    }
  }
  return await client.call('device.detach', { device }, session);
}

function showChange(session: Session, change: DeviceChange): void {
  if (session.isJson) session.print(JSON.stringify(change));
  showWarnings(session, change);
}

/** @throws HF_BAD_ARGUMENT. */
function needed(value: string | undefined, flag: string): string {
  if (value !== undefined) return value;
  throw new HoldfastError('HF_BAD_ARGUMENT', `${flag} is needed`);
}

async function byId<Result>(id: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (errorCode(error) !== 'HF_NOT_FOUND') throw error;
    throw new HoldfastError('HF_NOT_FOUND', `no such object: ${id} (ENOENT)`, { cause: error });
  }
}
