/**
 * A run of blocks that outlives the process: a raw disk, an image file, a directory of segment
 * files, memory, or the simulator's device. All kinds carry the same bytes and pass one conformance
 * suite (test/suites/block-device.ts).
 *
 * Offsets and lengths are multiples of LIMITS.blockBytes and inside the device; else it is our own
 * bug, and an assertion. Memory comes from `allocate`, or is any array that starts on a page
 * (shared WebAssembly memory does); other memory works too, through a copy.
 */

export type DeviceKind = 'raw' | 'image' | 'directory' | 'memory' | 'simulated';

/** How the kernel numbers devices. */
export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

export interface BlockDevice extends AsyncDisposable {
  readonly kind: DeviceKind;
  /** Where it is, as the user wrote it: a path, or a made-up name. */
  readonly name: string;
  /** Usable bytes now; a directory grows up to its capacity, see {@link grow}. */
  readonly sizeBytes: number;
  /** Bytes it may grow to; equal to `sizeBytes` where it cannot grow. */
  readonly capacityBytes: number;
  /** Whether transfers bypass the page cache. */
  readonly isDirect: boolean;
  /** Of the block device, or of the filesystem that its files are on; zeros where there is none. */
  readonly deviceNumber: DeviceNumber;

  /**
   * Fills `target` from `offset`.
   * @throws HF_IO on a failed or short read; HF_DEVICE_FAILED once the device is dead.
   */
  read(target: Uint8Array, offset: number): Promise<void>;

  /**
   * Writes the sources one after the other from `offset`. They belong to the device until it
   * settles. Nothing is durable before the next {@link flush}.
   * @throws HF_IO, HF_NO_SPACE; HF_DEVICE_FAILED once the device is dead.
   */
  write(sources: readonly Uint8Array[], offset: number): Promise<void>;

  /**
   * Makes every write that completed before this call durable. It fails at most once: from then on
   * the device is dead and everything is HF_DEVICE_FAILED, since a retried flush proves nothing.
   * @throws HF_DEVICE_FAILED.
   */
  flush(): Promise<void>;

  /** Adds preallocated room, at least `bytes`. @throws HF_NO_SPACE; some may have been added. */
  grow(bytes: number): Promise<void>;

  /**
   * Gives room at the end back as far as the kind can, and never below `sizeBytes` (whole blocks):
   * a directory removes whole trailing segments, memory is cut, others do nothing. It takes effect
   * at once and durably; {@link sizeBytes} tells the outcome, and the device may grow again. The
   * caller has seen to it, durably, that nothing lies there, and transfers nothing there meanwhile.
   * @throws HF_IO; some room may have been given back.
   */
  shrink(sizeBytes: number): Promise<void>;

  /** Page-aligned, zeroed memory for transfers. */
  allocate(bytes: number): Uint8Array;

  /** Closes it and lets go of its lock; writes under way are waited for. */
  [Symbol.asyncDispose](): Promise<void>;
}
