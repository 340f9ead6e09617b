/**
 * The nodes of a drill, and where they show the default volume: one node with six stores, or three
 * with two each. They are processes in this machine's own namespaces, because a mount is seen only
 * in the mount namespace that it was made in.
 *
 * A *point* is where it is mounted: the first node's, and for workloads that want two one of the
 * second node (of one node: its second mount). What is done to a point is done by processes that
 * can be killed: who calls into a mount that hangs waits for it.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import type { MountView } from '../../src/api/index.ts';
import { Ground, ringObstacle } from '../consistency/cluster.ts';
import { mapBounded } from '../../src/base/index.ts';
import { type Bed, type Health, until } from '../e2e/harness.ts';
import { mountSmallDisk, type SmallDisk } from '../e2e/small-disk.ts';

const STORES = 6;
const CAPACITY_BYTES = 4 * 2 ** 30;
/** An ended node's watchdog empties the place, and a new one takes names over from the dead one. */
const MOUNT_MS_MAX = 60_000;
/** Repair waits its turn behind what the workload asks for. */
const MENDED_MS_MAX = 10 * 60_000;

/** Exit code of what may be asked again (docs/reference/errors.md). */
const UNAVAILABLE = 6;

export type NodeCount = 1 | 3;

export interface GroundOptions {
  readonly nodeCount: NodeCount;
  readonly pointCount: 1 | 2;
  readonly scheme: string;
  /** Stores of so many MiB, each on a file system of its own in memory. */
  readonly storeMib?: number;
}

export interface Point {
  readonly node: string;
  readonly directory: string;
}

/** Why nothing can be mounted here; `undefined`: it can. */
export function mountObstacle(nodeCount: NodeCount): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can mount without a helper';
  try {
    readFileSync('/dev/fuse', { encoding: 'utf8', flag: 'r' });
  } catch (error) {
    // It can be opened, and has nothing to say before it is mounted.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return `no /dev/fuse: ${String(error)}`;
  }
  return nodeCount > 1 ? ringObstacle() : undefined;
}

export class MountGround implements AsyncDisposable {
  readonly ground: Ground;
  readonly points: readonly Point[];
  readonly #nodeCount: number;
  readonly #disks: readonly SmallDisk[];

  private constructor(
    ground: Ground,
    { points, disks }: { points: readonly Point[]; disks: readonly SmallDisk[] },
  ) {
    this.ground = ground;
    this.points = points;
    this.#nodeCount = ground.running.length;
    this.#disks = disks;
  }

  /** Resolves when all points are mounted. */
  static async open(bed: Bed, options: GroundOptions): Promise<MountGround> {
    const { nodeCount, pointCount, scheme, storeMib } = options;
    const disks = storeMib === undefined ? [] : await smallDisks(bed, nodeCount, storeMib);
    const ground = await Ground.open(bed, {
      nodeCount,
      storesPerNode: STORES / nodeCount,
      scheme,
      capacityBytes: storeMib === undefined ? CAPACITY_BYTES : storeMib * 2 ** 20,
      isOnLoopback: true,
    }).catch((error: unknown) => {
      for (const disk of disks) disk[Symbol.dispose]();
      throw error;
    });
    const points = Array.from({ length: pointCount }, (_, index) => ({
      node: `n${Math.min(index + 1, nodeCount)}`,
      directory: bed.path(`mnt-${index + 1}`),
    }));
    const mounts = new MountGround(ground, { points, disks });
    try {
      for (const { directory } of points) await fs.mkdir(directory);
      for (const point of points) await mounts.mount(point);
    } catch (error) {
      await mounts[Symbol.asyncDispose]();
      throw error;
    }
    return mounts;
  }

  get bed(): Bed {
    return this.ground.bed;
  }

  /** Where most workloads work. */
  get directory(): string {
    return this.points[0]!.directory;
  }

  /** Until {@link bringBack}: their folders have another name. */
  async takeAway(stores: readonly string[]): Promise<void> {
    for (const store of stores) await fs.rename(store, `${store}.away`);
  }

  /** Resolves when all is whole again, so that others may go. */
  async bringBack(stores: readonly string[]): Promise<void> {
    for (const store of stores) {
      await fs.rm(store, { recursive: true, force: true });
      await fs.rename(`${store}.away`, store);
    }
    await this.untilMended();
  }

  /** Resolves when all stores are there and all stripes are whole. */
  async untilMended(): Promise<void> {
    const isMended = async (): Promise<boolean> => {
      const { devices } = await this.health();
      if (devices.some(({ state }) => state !== 'active')) return false;
      // Who asks while nodes come and go may have to ask again.
      if (!(await this.repair())) return false;
      const { stripes } = await this.health();
      return stripes.degraded + stripes.lost === 0;
    };
    await until('all stripes are whole again', isMended, MENDED_MS_MAX);
  }

  /** Folders of all stores. */
  get stores(): string[] {
    return storePaths(this.bed, this.#nodeCount);
  }

  /** Nodes that serve no point. */
  get others(): string[] {
    const serving = this.points.map(({ node }) => node);
    return this.ground.running.filter((name) => !serving.includes(name));
  }

  async mount({ node, directory }: Point): Promise<void> {
    let said = '';
    const isMounted = async (): Promise<boolean> => {
      const words = ['mount', 'default', directory, '-o', 'allow_other'];
      const { exitCode, stderr } = await this.bed.run(words, { data: node });
      said = stderr;
      return exitCode === 0;
    };
    await until(`${node} mounts at ${directory}`, isMounted, MOUNT_MS_MAX).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}: ${said}`, { cause: error });
      },
    );
  }

  async unmount({ node, directory }: Point): Promise<void> {
    await this.bed.ok(['umount', directory], { data: node });
  }

  /** So that nothing is answered from what the kernel or the mount remembers. */
  async remount(point: Point): Promise<void> {
    await this.unmount(point);
    await this.mount(point);
  }

  /** Resolves when a node that was started again has mounted what it had before. */
  async untilMountedAgain(node: string): Promise<void> {
    for (const { directory } of this.points.filter((each) => each.node === node)) {
      const isBack = (): boolean => isMountPoint(directory);
      await until(`${directory} is mounted again`, isBack, MOUNT_MS_MAX);
    }
  }

  async health(): Promise<Health> {
    return await this.bed.health({ data: 'n1' });
  }

  /**
   * It may end with work left (exit code 1): programs go on writing meanwhile.
   * @returns whether it could be done at all.
   */
  async repair(): Promise<boolean> {
    const { exitCode, stdout, stderr } = await this.bed.run(['repair'], { data: 'n1' });
    if (exitCode === UNAVAILABLE) return false;
    assert.ok(
      exitCode === 0 || exitCode === 1,
      `repair: exit ${exitCode}: ${String(stdout)}${stderr}`,
    );
    return true;
  }

  /** @throws unless every stripe is whole once repaired, and all mounts are still there. */
  async assertWhole(): Promise<void> {
    this.ground.assertAlive();
    const mounts = await Promise.all(
      [...new Set(this.points.map(({ node }) => node))].map((data) =>
        this.bed.json<MountView[]>(['mount'], { data }),
      ),
    );
    assert.deepEqual(
      mounts
        .flat()
        .map(({ directory }) => directory)
        .toSorted(),
      this.points.map(({ directory }) => directory),
      'all that was mounted is still mounted',
    );
    await until('a repair is done', () => this.repair(), MOUNT_MS_MAX);
    const { stripes, devices } = await this.health();
    assert.equal(stripes.lost, 0, 'no stripe is lost');
    assert.equal(stripes.degraded, 0, 'repair has mended every stripe');
    for (const { path, state } of devices) assert.equal(state, 'active', path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { node, directory } of this.points) {
      if (this.ground.running.includes(node)) {
        await this.bed.run(['umount', directory, '--force'], { data: node });
      }
      if (isMountPoint(directory)) await promisify(execFile)('umount', ['-l', directory]);
    }
    await this.ground[Symbol.asyncDispose]();
    for (const disk of this.#disks) disk[Symbol.dispose]();
  }
}

/** As the nodes of a ground name them. */
function storePaths(bed: Bed, nodeCount: number): string[] {
  const perNode = STORES / nodeCount;
  return Array.from({ length: STORES }, (_, index) =>
    bed.path(`n${1 + Math.floor(index / perNode)}-store-${1 + (index % perNode)}`),
  );
}

async function smallDisks(bed: Bed, nodeCount: number, storeMib: number): Promise<SmallDisk[]> {
  return await mapBounded(storePaths(bed, nodeCount), 1, (folder) =>
    mountSmallDisk(folder, storeMib),
  );
}

/** Asks the kernel's table: nothing that is served is touched. */
export function isMountPoint(directory: string): boolean {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.some((line) => line.split(' ')[4] === directory);
}
