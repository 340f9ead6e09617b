/**
 * What bench/mount.ts measures: Holdfast as one node with six stores and as three with two each,
 * and a folder of the disk that all of them store on.
 *
 * A *system* is mounted while it is open, and what it has started has ended when it is disposed.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { GiB } from '../src/base/index.ts';
import { Bed, until } from '../test/e2e/harness.ts';
import { LoopbackCluster, type MemberPlan } from '../test/e2e/loopback-cluster.ts';
import { mountObstacle, type NodeCount } from '../test/mount-drills/ground.ts';

const STORES = 6;
const CAPACITY_BYTES = 4 * GiB;
const RINGED = { scheme: 'rs-4+2', hasRing: true } as const;
/** Cells that have not moved for so long stay. */
const REST_MS = 5000;

export interface MountedSystem extends AsyncDisposable {
  readonly name: string;
  readonly isOurs: boolean;
  /** What has become of files when calls return, in words. */
  readonly durability: string;
  readonly directory: string;
  /** What stands before a command that is to see the directory. */
  readonly within: readonly string[];
  /** Nothing is left of what a client remembers. */
  remount(): Promise<void>;
}

const WHEN_CLOSED =
  'What is made and closed and not synced is in the memory of its node for some half a second, ' +
  'content of up to 1 MiB too, and goes with it. After fsync content and name are on disks: ' +
  'names and files up to 4 KiB on ';

const DURABILITY: Readonly<Record<NodeCount, string>> = {
  1: `Bears the loss of two of six stores. ${WHEN_CLOSED}three stores, large content on all six.`,
  3:
    'Bears the loss of two of six stores, or of one of three nodes. ' +
    `${WHEN_CLOSED}two of three nodes, large content on all six stores.`,
};

/** `undefined`, and said, where it cannot be mounted. */
export async function openHoldfast(nodeCount: NodeCount): Promise<MountedSystem | undefined> {
  const name = nodeCount === 1 ? 'one node' : 'three nodes';
  const obstacle = mountObstacle(nodeCount);
  if (obstacle !== undefined) {
    console.error(`bench mount: SKIPPED Holdfast, ${name}: ${obstacle}`);
    return undefined;
  }
  await using stack = new AsyncDisposableStack();
  const bed = stack.use(await Bed.open());
  const cluster = stack.use(await LoopbackCluster.start(bed, plansOf(nodeCount), RINGED));
  if (nodeCount > 1) await metadataAtRest(cluster);
  const directory = bed.path('mnt');
  fs.mkdirSync(directory);
  const data = { data: cluster.home };
  const mount = () => bed.ok(['mount', 'default', directory], data);
  await mount();
  stack.defer(async () => void (await bed.run(['umount', directory, '--force'], data)));
  const opened = stack.move();
  return {
    name,
    isOurs: true,
    durability: DURABILITY[nodeCount],
    directory,
    within: [],
    async remount() {
      await bed.ok(['umount', directory], data);
      await mount();
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function plansOf(nodeCount: NodeCount): MemberPlan[] {
  return Array.from({ length: nodeCount }, (_, at) => ({
    name: `n${at + 1}`,
    storeCount: STORES / nodeCount,
    capacityBytes: CAPACITY_BYTES,
  }));
}

/** The metadata of several nodes is in their ring, and its cells are where they stay. */
async function metadataAtRest({ bed, running }: LoopbackCluster): Promise<void> {
  const isInRing = (name: string): boolean => {
    const file = bed.path(name, 'metadata.json');
    return fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes('"etcd"');
  };
  await until('the metadata is in a ring', () => running.every(isInRing));
  const cellsNow = (): string =>
    running.map((name) => fs.readdirSync(bed.path(name, 'cells')).toSorted().join(' ')).join('; ');
  let seen = '';
  let sinceMs = 0;
  await until('the cells have come to rest', () => {
    const cells = cellsNow();
    if (cells !== seen) sinceMs = performance.now();
    seen = cells;
    return performance.now() - sinceMs > REST_MS;
  });
}

/** Of the temporary folder, whatever its file system is. */
export function openDisk(): MountedSystem {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-mount-'));
  const remove = () => fs.rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  return {
    name: 'the disk',
    isOurs: false,
    durability: 'Bears no loss. What was written and not synced goes when the machine stops.',
    directory,
    within: [],
    remount: async () => {},
    [Symbol.asyncDispose]: async () => {
      process.off('exit', remove);
      remove();
    },
  };
}
