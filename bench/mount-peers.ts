/**
 * Peers of a mount, as Debian has them, with the settings that they come with: GlusterFS with a
 * dispersed volume of six bricks that bears the loss of two, as rs-4+2 does; MooseFS with a master
 * and three chunk servers, two copies of each chunk, for what is free of it codes nothing.
 * Each is in namespaces of its own, all its daemons on this machine and its data on one disk.
 *
 * What a system does until it answers was watched with strace (fsync, fdatasync, sync_file_range,
 * syncfs of all its daemons), in the versions of Debian 12: GlusterFS 10.3, MooseFS 3.0.117.
 */
import { existsSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { until } from '../test/e2e/harness.ts';
import type { MountedSystem } from './mount-systems.ts';
import { OWN_ADDRESS, OwnNamespaces } from './own-namespaces.ts';

interface PeerPlan {
  readonly name: string;
  readonly programs: readonly string[];
  /** Of Debian. */
  readonly packages: string;
  readonly hidden: readonly string[];
  readonly durability: string;
  /** Starts its daemons; it can be mounted then. */
  start(place: OwnNamespaces): Promise<void>;
  mountCommand(directory: string): readonly string[];
  /** Once, when it is mounted. */
  prepare?(place: OwnNamespaces, directory: string): Promise<void>;
}

const GLUSTERFS: PeerPlan = {
  name: 'GlusterFS',
  programs: ['glusterd', 'glusterfs', 'gluster'],
  packages: 'glusterfs-server glusterfs-client',
  hidden: ['/var/lib/glusterd', '/var/log/glusterfs', '/run'],
  durability:
    'Bears the loss of two of six bricks. A new name is in the memory of all bricks when create ' +
    'returns; content may still be in the client when close returns (flush-behind). Nothing is ' +
    'on a disk before fsync, which syncs the file on all six; syncfs does nothing.',

  async start(place) {
    await place.run('glusterd');
    const ask = (...words: readonly string[]) => place.run('gluster', '--mode=script', ...words);
    await until('glusterd answers', async () => isDone(ask('volume', 'list')));
    const bricks = [1, 2, 3, 4, 5, 6].map(
      (number) => `${OWN_ADDRESS}:${path.join(place.makeFolder(`brick-${number}`), 'data')}`,
    );
    const kind = ['disperse', '6', 'redundancy', '2', 'transport', 'tcp'];
    await ask('volume', 'create', 'bench', ...kind, ...bricks, 'force');
    await ask('volume', 'start', 'bench');
  },

  mountCommand(directory) {
    return ['glusterfs', `--volfile-server=${OWN_ADDRESS}`, '--volfile-id=bench', directory];
  },
};

const MOOSEFS: PeerPlan = {
  name: 'MooseFS',
  programs: ['mfsmaster', 'mfschunkserver', 'mfsmount'],
  packages: 'moosefs-master moosefs-chunkserver moosefs-client',
  hidden: [],
  durability:
    'Two copies: bears the loss of one of three chunk servers, and of no master. Names are in ' +
    'the memory of the master when create returns, and written to its log a moment later; ' +
    'content is in the memory of two chunk servers when close or fsync returns. Nothing is ever ' +
    'synced to a disk (CHANGELOG_SAVE_MODE 0, HDD_FSYNC_BEFORE_CLOSE 0).',

  async start(place) {
    const user = ['WORKING_USER = root', 'WORKING_GROUP = root'];
    const data = place.makeFolder('master');
    writeFileSync(path.join(data, 'metadata.mfs'), 'MFSM NEW');
    const exports = place.makeFile('exports', ['* / rw,alldirs,admin,maproot=0:0']);
    const topology = place.makeFile('topology', []);
    const master = place.makeFile('master.conf', [
      ...user,
      `DATA_PATH = ${data}`,
      `EXPORTS_FILENAME = ${exports}`,
      `TOPOLOGY_FILENAME = ${topology}`,
    ]);
    await place.run('mfsmaster', '-c', master, 'start');
    for (const number of [1, 2, 3]) {
      const disks = place.makeFile(`disks-${number}`, [place.makeFolder(`disk-${number}`)]);
      const server = place.makeFile(`server-${number}.conf`, [
        ...user,
        `DATA_PATH = ${place.makeFolder(`server-${number}`)}`,
        `HDD_CONF_FILENAME = ${disks}`,
        `MASTER_HOST = ${OWN_ADDRESS}`,
        `CSSERV_LISTEN_PORT = ${9500 + number}`,
      ]);
      await place.run('mfschunkserver', '-c', server, 'start');
    }
  },

  mountCommand(directory) {
    return ['mfsmount', '-H', OWN_ADDRESS, directory];
  },

  async prepare(place, directory) {
    await until('all chunk servers are there', async () => {
      const free = Number(await place.run('stat', '--file-system', '--format=%a', directory));
      const unit = Number(await place.run('stat', '--file-system', '--format=%S', directory));
      const { bavail, bsize } = statfsSync(place.folder);
      return free * unit > 2.5 * bavail * bsize;
    });
    await place.run('mfssetgoal', '2', directory);
    // As with the others, what is removed is gone.
    await place.run('mfssettrashtime', '0', directory);
  },
};

class Peer implements MountedSystem {
  readonly name: string;
  readonly isOurs = false;
  readonly durability: string;
  readonly directory: string;
  readonly #place: OwnNamespaces;
  readonly #plan: PeerPlan;

  private constructor(place: OwnNamespaces, plan: PeerPlan) {
    this.name = plan.name;
    this.durability = plan.durability;
    this.#place = place;
    this.#plan = plan;
    this.directory = place.makeFolder('mnt');
  }

  static async open(plan: PeerPlan): Promise<Peer> {
    const place = await OwnNamespaces.open(plan);
    const peer = new Peer(place, plan);
    try {
      await plan.start(place);
      await peer.#mount();
      await plan.prepare?.(place, peer.directory);
    } catch (error) {
      await peer[Symbol.asyncDispose]();
      throw error;
    }
    return peer;
  }

  get within(): readonly string[] {
    return this.#place.within;
  }

  async #mount(): Promise<void> {
    await this.#place.run(...this.#plan.mountCommand(this.directory));
    await this.#place.run('mountpoint', '--quiet', this.directory);
  }

  async remount(): Promise<void> {
    await this.#place.run('umount', this.directory);
    await this.#mount();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#place[Symbol.asyncDispose]();
  }
}

/** Those that are installed; of the others it is said that they are not. */
export async function openPeer(name: 'GlusterFS' | 'MooseFS'): Promise<MountedSystem | undefined> {
  const plan = name === 'GlusterFS' ? GLUSTERFS : MOOSEFS;
  const missing = plan.programs.filter((program) => !isInstalled(program));
  if (missing.length === 0) return await Peer.open(plan);
  const hint = `apt-get install ${plan.packages}`;
  console.error(`bench mount: SKIPPED ${name}: no ${missing.join(', ')}; ${hint}`);
  return undefined;
}

function isInstalled(program: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(path.join(folder, program)));
}

async function isDone(work: Promise<unknown>): Promise<boolean> {
  return await work.then(
    () => true,
    () => false,
  );
}
