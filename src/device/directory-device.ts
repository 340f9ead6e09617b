/**
 * A device in a folder: `holdfast.json` and preallocated segment files (segments.ts), one linear
 * address space. It grows by segments up to its capacity, so that a store takes from its disk about
 * what it needs and never finds the room gone.
 *
 * The lock goes by the store's uuid: a copy of the folder cannot run beside its original either.
 */
import fs from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { assert, HoldfastError, isHexId, LIMITS, Mutex, type DeviceId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { BlockFile, fileError, type DirectMode } from './block-file.ts';
import {
  devicePermits,
  FileDevice,
  holdOpen,
  type FileDeviceParts,
  type Piece,
} from './file-device.ts';
import { holdLock } from './lock.ts';
import { isBlockMultiple } from './pages.ts';
import { preallocate, syncDirectory } from './preallocate.ts';
import { segmentBytes, segmentName, segmentStart } from './segments.ts';
import {
  checkEmpty,
  LABEL_NAME,
  listSegments,
  makeFolder,
  makeWhole,
  readLabel,
  removeUnfinished,
  writeLabel,
} from './store-folder.ts';

export interface DirectoryOptions {
  readonly env: Env;
  readonly path: string;
  readonly direct?: DirectMode;
}

export interface NewDirectory {
  readonly uuid: DeviceId;
  /** What the device may grow to; at least LIMITS.deviceBytesMin. */
  readonly capacityBytes: number;
}

const { blockBytes, deviceBytesMin } = LIMITS;

export class DirectoryDevice extends FileDevice {
  readonly uuid: DeviceId;
  readonly #folder: string;
  readonly #direct: DirectMode;
  /** Growing and shrinking, one at a time. */
  readonly #resizing = new Mutex();

  private constructor(
    parts: FileDeviceParts,
    own: { uuid: DeviceId; folder: string; direct: DirectMode },
  ) {
    super(parts);
    this.uuid = own.uuid;
    this.#folder = own.folder;
    this.#direct = own.direct;
  }

  /**
   * Makes a store's folder with its first segment, and opens it. What fails leaves nothing behind
   * but the empty folder.
   * @throws HF_EXISTS when a store is there, HF_NOT_OURS when something else is, HF_NOT_DIRECTORY,
   *   HF_BAD_ARGUMENT, HF_NO_SPACE, HF_BUSY, HF_IO.
   */
  static async create(options: DirectoryOptions & NewDirectory): Promise<DirectoryDevice> {
    const folder = resolve(options.path);
    assert(isHexId(options.uuid), 'a store has a uuid');
    const capacityBytes = Math.floor(options.capacityBytes / blockBytes) * blockBytes;
    if (!(capacityBytes >= deviceBytesMin && Number.isSafeInteger(capacityBytes))) {
      throw new HoldfastError('HF_BAD_ARGUMENT', `a store needs at least ${deviceBytesMin} bytes`);
    }
    await makeFolder(folder);
    await fillFolder(folder, { uuid: options.uuid, capacityBytes });
    return await DirectoryDevice.open(options);
  }

  /**
   * @param options.capacityBytes another limit than the one of the format, for this run.
   * @throws HF_NOT_FOUND without a folder, HF_NOT_OURS without a label, HF_CORRUPT when segments
   *   are missing or cut, HF_UNSUPPORTED, HF_BUSY, HF_IO.
   */
  static async open(
    options: DirectoryOptions & { readonly capacityBytes?: number },
  ): Promise<DirectoryDevice> {
    const { env, path: name, direct = 'try' } = options;
    const folder = resolve(name);
    const { uuid, capacityBytes } = await readLabel(folder);
    const permits = devicePermits();
    await using resources = new AsyncDisposableStack();
    resources.use(await holdLock(`store-${uuid}`, `the store ${folder}`));
    await removeUnfinished(folder);
    const anchors = [
      await holdOpen(folder, resources),
      await holdOpen(join(folder, LABEL_NAME), resources),
    ];
    const pieces: Piece[] = [];
    const numbers = await listSegments(folder);
    for (const number of numbers) {
      const file = await BlockFile.open({
        path: join(folder, segmentName(number)),
        permits,
        direct,
      });
      resources.use(file);
      const isLast = number === numbers.length - 1;
      pieces.push(checkedPiece(file, number, isLast ? capacityBytes : Infinity));
    }
    const limitBytes = options.capacityBytes ?? capacityBytes;
    return new DirectoryDevice(
      {
        env,
        kind: 'directory',
        name,
        what: `the folder ${folder}`,
        capacityBytes: Math.floor(limitBytes / blockBytes) * blockBytes,
        pieces,
        anchors,
        permits,
        resources: resources.move(),
      },
      { uuid, folder, direct },
    );
  }

  override async grow(bytes: number): Promise<void> {
    using _ = this.state.begin();
    await this.#resizing.run(async () => {
      const wantedBytes = this.sizeBytes + bytes;
      if (wantedBytes > this.capacityBytes) {
        const message = `${this.name} has reached its capacity of ${this.capacityBytes} bytes`;
        throw new HoldfastError('HF_NO_SPACE', message);
      }
      await this.checkFolder();
      while (this.sizeBytes < wantedBytes) await this.#growOnce();
    });
  }

  override async shrink(sizeBytes: number): Promise<void> {
    assert(isBlockMultiple(sizeBytes), 'a device is whole blocks');
    using _ = this.state.begin();
    await this.#resizing.run(async () => {
      await this.checkFolder();
      while (this.pieces.length > 1 && this.pieces.at(-1)!.startOffset >= sizeBytes) {
        await this.#removeLastSegment();
      }
    });
  }

  /** One by one from the end, each durably: a crash leaves no gap between segments. */
  async #removeLastSegment(): Promise<void> {
    const piece = await this.removeLastPiece();
    const { file } = piece;
    try {
      await fs.unlink(file.path);
    } catch (error) {
      this.addPiece(piece);
      throw fileError(error, 'remove', file.path);
    }
    await file[Symbol.asyncDispose]();
    await syncDirectory(this.#folder);
  }

  /** Completes the last segment if the capacity had cut it, else adds one. */
  async #growOnce(): Promise<void> {
    const lastNumber = this.pieces.length - 1;
    const last = this.pieces[lastNumber];
    assert(last, 'a device has a segment');
    const lastBytes = bytesWithin(lastNumber, this.capacityBytes);
    if (last.sizeBytes < lastBytes) {
      await preallocate(last.file.path, { fromBytes: last.sizeBytes, toBytes: lastBytes });
      this.addPiece({ ...last, sizeBytes: lastBytes });
      return;
    }
    const number = lastNumber + 1;
    const path = await makeSegment(this.#folder, number, this.capacityBytes);
    const { permits } = this;
    const file = await BlockFile.open({ path, permits, direct: this.#direct, isNew: true });
    this.resources.use(file);
    this.addPiece(checkedPiece(file, number, this.capacityBytes));
  }
}

/** Makes an empty folder a store; the label comes last. */
async function fillFolder(folder: string, label: NewDirectory): Promise<void> {
  await using resources = new AsyncDisposableStack();
  const { identity } = await holdOpen(folder, resources);
  resources.use(await holdLock(`folder-${identity}`, `the folder ${folder}`));
  await checkEmpty(folder);
  const segment = await makeSegment(folder, 0, label.capacityBytes);
  try {
    await writeLabel(folder, label);
  } catch (error) {
    await fs.rm(segment);
    throw error;
  }
}

/** @returns the path of the new segment, whole and durable. */
async function makeSegment(folder: string, number: number, capacity: number): Promise<string> {
  const path = join(folder, segmentName(number));
  const room = { fromBytes: 0, toBytes: bytesWithin(number, capacity) };
  await makeWhole(path, (unfinished) => preallocate(unfinished, room));
  return path;
}

/** Bytes of a segment when it is the last one of a device of this capacity. */
function bytesWithin(number: number, capacityBytes: number): number {
  return Math.min(segmentBytes(number), capacityBytes - segmentStart(number));
}

/** @throws HF_CORRUPT when the file is shorter than it was made. */
function checkedPiece(file: BlockFile, number: number, capacityBytes: number): Piece {
  const madeBytes = Math.max(blockBytes, bytesWithin(number, capacityBytes));
  if (file.sizeBytes < madeBytes) {
    const message = `${file.path} is cut: ${file.sizeBytes} of ${madeBytes} bytes are left`;
    throw new HoldfastError('HF_CORRUPT', message, { details: { path: file.path } });
  }
  const wholeBytes = file.sizeBytes - (file.sizeBytes % blockBytes);
  const sizeBytes = Math.min(wholeBytes, segmentBytes(number));
  return { file, startOffset: segmentStart(number), sizeBytes };
}
