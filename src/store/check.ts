/**
 * Check and repair of a store that nobody has open.
 *
 * - *check*: reads everything and lists the damage exactly; writes nothing, so it may be run on
 *   a device that is to be salvaged.
 * - *repair*: opens the store and scrubs it: copies that are bad are written again from good ones,
 *   chunks that are bad are marked, so that the cluster makes them again. Bytes of which there is
 *   no second copy on the device cannot be mended here.
 */
import { errorCode, errorMessage, throwIfAborted } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { BufferPool } from './buffer-pool.ts';
import { checkChunks } from './check-chunks.ts';
import { checkBitmap, checkImages, checkJournal, checkSuperblocks } from './check-metadata.ts';
import { type CheckReport, CheckReporter } from './check-report.ts';
import type { ScrubReport } from './chunk-store.ts';
import { ExtentIo } from './extent-io.ts';
import { openStore } from './extent-store.ts';
import { type MountedStore, mountStore } from './mount.ts';
import type { Superblock } from './superblock.ts';

export interface CheckOptions {
  readonly env: Env;
  readonly device: BlockDevice;
  readonly onProgress?: ((checkedBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The device stays the caller's, and as it is.
 * @throws HF_DEVICE_FAILED, HF_INTERRUPTED; damage is no error.
 */
export async function checkStore(options: CheckOptions): Promise<CheckReport> {
  const { env, device, onProgress, signal } = options;
  const report = new CheckReporter(device.name);
  const superblock = await checkSuperblocks(device, report);
  if (!superblock) {
    report.mountError = 'no copy of the superblock is good';
    return report.finish(undefined);
  }
  throwIfAborted(signal);
  await checkImages(device, superblock, report);
  await checkJournal(device, superblock, report);
  const mounted = await mount(device, superblock, report);
  if (!mounted) return report.finish(superblock);
  throwIfAborted(signal);
  const { index, space } = mounted.inventory;
  const isKnown = mounted.damage.length === 0;
  const allocator = isKnown ? space.allocator : undefined;
  await checkBitmap(device, { superblock, allocator }, report);
  const turn = async (): Promise<void> => await env.clock.turn();
  await checkChunks({ device, index, report, turn, onProgress, signal });
  return report.finish(superblock);
}

/** The store as a mount would see it, which writes nothing. */
async function mount(
  device: BlockDevice,
  superblock: Superblock,
  report: CheckReporter,
): Promise<MountedStore | undefined> {
  const io = new ExtentIo(device, new BufferPool(device));
  try {
    const mounted = await mountStore({
      device,
      io,
      plantedFault: undefined,
      onDropped: ({ id, extents }) => {
        const what = 'its blocks are in use by something else, and it is not whole';
        report.find('space', extents, { what, chunkId: id, isMended: false });
      },
    });
    const { chunkCount } = mounted.inventory;
    if (superblock.isClean && mounted.damage.length === 0 && chunkCount !== superblock.chunkCount) {
      const what = `the superblock counts ${superblock.chunkCount} chunks, the index ${chunkCount}`;
      report.find('space', [], { what, isMended: true });
    }
    return mounted;
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined || code === 'HF_DEVICE_FAILED') throw error;
    report.mountError = errorMessage(error);
    return undefined;
  }
}

export interface RepairReport {
  /** What the mount found lost: chunks may be missing. */
  readonly damage: readonly string[];
  /** What was mended and which chunks were marked bad. */
  readonly scrub: ScrubReport;
}

/**
 * Mends what can be mended and marks what cannot.
 * @param options.device belongs to the store from now on, and is closed at the end.
 * @throws as `openStore` and `scrub`.
 */
export async function repairStore(options: CheckOptions): Promise<RepairReport> {
  const { env, device, onProgress, signal } = options;
  await using store = await openStore({ env, device });
  const { damage } = await store.describe();
  const scrub = await store.scrub({ startsOver: true, onProgress, signal });
  return { damage, scrub };
}
