/** A device in one preallocated file of fixed size. */
import { dirname, resolve } from 'node:path';
import { assert, HoldfastError, LIMITS } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { BlockFile, type DirectMode } from './block-file.ts';
import { devicePermits, FileDevice } from './file-device.ts';
import { holdLock } from './lock.ts';
import { isBlockMultiple } from './pages.ts';
import { preallocate, syncDirectory } from './preallocate.ts';
import { loopOver } from './sysfs.ts';

export interface ImageOptions {
  readonly env: Env;
  readonly path: string;
  readonly direct?: DirectMode;
}

export class ImageDevice extends FileDevice {
  /**
   * Makes the file, zeros that have room on the disk, and opens it.
   * @throws HF_EXISTS, HF_NOT_FOUND for its folder, HF_NO_SPACE, HF_IO.
   */
  static async create(
    options: ImageOptions & { readonly sizeBytes: number },
  ): Promise<ImageDevice> {
    const path = resolve(options.path);
    assert(isBlockMultiple(options.sizeBytes), 'a device is whole blocks');
    assert(options.sizeBytes > 0, 'a device has room');
    await preallocate(path, { fromBytes: 0, toBytes: options.sizeBytes });
    await syncDirectory(dirname(path));
    return await ImageDevice.#openFile(options, true);
  }

  /** @throws HF_NOT_FOUND, HF_IS_DIRECTORY, HF_NOT_OURS, HF_BUSY, HF_IO. */
  static async open(options: ImageOptions): Promise<ImageDevice> {
    return await ImageDevice.#openFile(options, false);
  }

  static async #openFile(options: ImageOptions, isNew: boolean): Promise<ImageDevice> {
    const { env, path: name, direct = 'try' } = options;
    const path = resolve(name);
    const permits = devicePermits();
    await using resources = new AsyncDisposableStack();
    const file = resources.use(await BlockFile.open({ path, permits, direct, isNew }));
    resources.use(await holdLock(`image-${file.identity}`, `the image ${path}`));
    const loop = await loopOver(path);
    if (loop !== undefined) {
      throw new HoldfastError('HF_BUSY', `the image ${path} is in use: ${loop} lies over it`);
    }
    const sizeBytes = file.sizeBytes - (file.sizeBytes % LIMITS.blockBytes);
    if (sizeBytes === 0) throw new HoldfastError('HF_NOT_OURS', `the image ${path} is empty`);
    return new ImageDevice({
      env,
      kind: 'image',
      name,
      what: `the image ${path}`,
      capacityBytes: sizeBytes,
      pieces: [{ file, startOffset: 0, sizeBytes }],
      anchors: [file],
      permits,
      resources: resources.move(),
    });
  }
}
