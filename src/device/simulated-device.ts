/**
 * A device with a volatile cache that can lose power, for crash tests and the simulator.
 *
 * - *durable*: what is on the media for certain. *pending*: writes that were started and that no
 *   completed flush covers, oldest first; after a power cut any subset of them may be on the media,
 *   each whole or torn by sectors of 512 bytes. A flush covers the writes that had completed when
 *   it started, and no others.
 * - Observe: `onEvent` is called at each start and end of a write and a flush, synchronously, so
 *   that `crashPoint()` can be taken exactly there. A log is an `onEvent` that pushes to a list.
 * - Crash: `crashPoint()` → {durable, pending}, cheap, keeps what it holds.
 *   `crashImage(point, kept)` is the media with one subset; `crashImages(point, …)` walks all
 *   subsets or a sample, torn ones too (crash-images.ts). `new SimulatedDevice({ media })` mounts
 *   one. `powerOff()` is a crash point after which this device is dead, with what was under way.
 * - Faults: `fault` is asked at the start of each operation and names the error that it ends with.
 *   A write that fails leaves its first half. `flipBit` damages what is stored.
 * - Time: an operation takes one microtask, or as long as `delay` says.
 *
 * It asserts what a real device cannot: sources stay as they are until their write settles, and
 * writes that are under way at the same time do not overlap (their order would be undefined).
 */
import { assert, bytesEqual, concatBytes, HoldfastError, LIMITS, roundUp } from '../base/index.ts';
import type { BlockDevice, DeviceKind } from './block-device.ts';
import { DeviceState } from './device-state.ts';
import { Media } from './media.ts';
import { checkTransfer, isBlockMultiple } from './pages.ts';

export interface SimulatedWrite {
  /** Counts the writes of a device from 0. */
  readonly number: number;
  readonly offset: number;
  /** Never changed by anybody. */
  readonly bytes: Uint8Array;
}

export type SimulatedEvent =
  | { readonly kind: 'write-start' | 'write-end'; readonly write: SimulatedWrite }
  | { readonly kind: 'flush-start' | 'flush-end' };

export interface SimulatedOperation {
  readonly kind: 'read' | 'write' | 'flush' | 'grow' | 'shrink';
  /** 0 for a flush; the present size for a grow; the size to be for a shrink. */
  readonly offset: number;
  readonly lengthBytes: number;
}

export type FaultHook = (operation: SimulatedOperation) => 'HF_IO' | 'HF_NO_SPACE' | undefined;

/** What a power cut may leave: `durable`, and any subset of `pending` on top, whole or torn. */
export interface CrashPoint {
  readonly durable: Media;
  readonly pending: readonly SimulatedWrite[];
}

export interface SimulatedDeviceOptions {
  /** Needed unless `media` says it. */
  readonly sizeBytes?: number;
  /** What is stored at the start; forked, so the caller may use it again. */
  readonly media?: Media;
  readonly capacityBytes?: number;
  /** What it passes for: of all kinds only a directory gives room back. */
  readonly kind?: DeviceKind;
  readonly name?: string;
  /** How long an operation takes; a seeded simulator interleaves by it. */
  readonly delay?: (operation: SimulatedOperation) => Promise<void>;
  readonly onEvent?: (event: SimulatedEvent, device: SimulatedDevice) => void;
  readonly fault?: FaultHook;
}

export class SimulatedDevice implements BlockDevice {
  readonly kind: DeviceKind;
  readonly name: string;
  readonly capacityBytes: number;
  readonly isDirect = true;
  readonly deviceNumber = { major: 0, minor: 0 };
  /** May be set and taken back at any time. */
  fault: FaultHook | undefined;
  readonly #delay: ((operation: SimulatedOperation) => Promise<void>) | undefined;
  readonly #onEvent: ((event: SimulatedEvent, device: SimulatedDevice) => void) | undefined;
  readonly #state: DeviceState;
  readonly #durable: Media;
  /** What reads see: durable and all completed writes. */
  readonly #current: Media;
  #pending: SimulatedWrite[] = [];
  readonly #underWay = new Set<SimulatedWrite>();
  #writeCount = 0;
  #hasPower = true;

  constructor(options: SimulatedDeviceOptions) {
    const sizeBytes = options.sizeBytes ?? options.media?.sizeBytes;
    assert(sizeBytes !== undefined, 'a simulated device has a size or media');
    assert(isBlockMultiple(sizeBytes), 'a device is whole blocks');
    this.#durable = options.media?.fork() ?? new Media(sizeBytes);
    assert(this.#durable.sizeBytes === sizeBytes, 'the media have the size of the device');
    this.#current = this.#durable.fork();
    this.capacityBytes = options.capacityBytes ?? sizeBytes;
    assert(sizeBytes <= this.capacityBytes, 'a device is within its capacity');
    this.kind = options.kind ?? 'simulated';
    this.name = options.name ?? 'simulated';
    this.fault = options.fault;
    this.#delay = options.delay;
    this.#onEvent = options.onEvent;
    this.#state = new DeviceState(this.name);
  }

  get sizeBytes(): number {
    return this.#durable.sizeBytes;
  }

  /** Writes that a power cut now may lose, oldest first. */
  get pending(): readonly SimulatedWrite[] {
    return this.#pending;
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    const lengthBytes = checkTransfer([target], offset, this.sizeBytes);
    await this.#run({ kind: 'read', offset, lengthBytes }, async (settle) => {
      await settle();
      this.#current.read(target, offset);
    });
  }

  async write(sources: readonly Uint8Array[], offset: number): Promise<void> {
    const lengthBytes = checkTransfer(sources, offset, this.sizeBytes);
    await this.#run({ kind: 'write', offset, lengthBytes }, async (settle, willFail) => {
      const given = concatBytes(...sources);
      const bytes = willFail ? this.#halfWritten(given, offset) : given;
      const write = { number: this.#writeCount++, offset, bytes };
      this.#start(write);
      try {
        await settle();
        assert(
          bytesEqual(concatBytes(...sources), given),
          'sources stay until their write settles',
        );
      } finally {
        this.#end(write);
      }
    });
  }

  async flush(): Promise<void> {
    await this.#run({ kind: 'flush', offset: 0, lengthBytes: 0 }, async (settle) => {
      const completed = this.#pending.filter((write) => !this.#underWay.has(write));
      const covered = new Set(completed.map(({ number }) => number));
      this.#emit({ kind: 'flush-start' });
      try {
        await settle();
      } catch (error) {
        throw this.#state.fail('a flush failed', error);
      }
      // Another flush may have covered some of them meanwhile, and newer writes with them.
      const left = this.#pending.filter(({ number }) => !covered.has(number));
      for (const { number, bytes, offset } of this.#pending) {
        if (covered.has(number)) this.#durable.write(bytes, offset);
      }
      this.#pending = left;
      this.#emit({ kind: 'flush-end' });
    });
  }

  /** Durable when it resolves. */
  async grow(bytes: number): Promise<void> {
    const lengthBytes = roundUp(bytes, LIMITS.blockBytes);
    await this.#run({ kind: 'grow', offset: this.sizeBytes, lengthBytes }, async (settle) => {
      await settle();
      const sizeBytes = this.sizeBytes + lengthBytes;
      if (sizeBytes > this.capacityBytes) {
        throw new HoldfastError('HF_NO_SPACE', `${this.name} cannot grow by ${bytes} bytes`);
      }
      this.#durable.grow(sizeBytes);
      this.#current.grow(sizeBytes);
    });
  }

  /** Cuts exactly there. A power cut meets the device before or after it, never in between. */
  async shrink(sizeBytes: number): Promise<void> {
    assert(isBlockMultiple(sizeBytes), 'a device is whole blocks');
    const lengthBytes = Math.max(0, this.sizeBytes - sizeBytes);
    await this.#run({ kind: 'shrink', offset: sizeBytes, lengthBytes }, async (settle) => {
      await settle();
      if (sizeBytes >= this.sizeBytes) return;
      for (const { offset, bytes } of this.#underWay) {
        assert(offset + bytes.length <= sizeBytes, 'nothing is written to what is cut off');
      }
      this.#pending = this.#pending.flatMap((write) => cutWrite(write, sizeBytes));
      this.#durable.shrink(sizeBytes);
      this.#current.shrink(sizeBytes);
    });
  }

  /** Ordinary memory: no kernel sees it, and pages of its own take a third of a crash test. */
  allocate(bytes: number): Uint8Array {
    assert(isBlockMultiple(bytes), 'memory for transfers is whole blocks');
    return new Uint8Array(bytes);
  }

  /** What a power cut at this moment may leave; later work does not change it. */
  crashPoint(): CrashPoint {
    return { durable: this.#durable.fork(), pending: [...this.#pending] };
  }

  /** Cuts the power: everything fails from now on, also what is under way. */
  powerOff(): CrashPoint {
    const point = this.crashPoint();
    this.#hasPower = false;
    this.#state.fail('the power is off');
    return point;
  }

  /** Damages one bit (0–7) of the byte at `offset`, on the media and for reads. */
  flipBit(offset: number, bit: number): void {
    this.#durable.flipBit(offset, bit);
    this.#current.flipBit(offset, bit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#state.close();
  }

  /** @param work calls `settle` once: it takes the operation's time and throws its fault. */
  async #run(
    operation: SimulatedOperation,
    work: (settle: () => Promise<void>, willFail: boolean) => Promise<void>,
  ): Promise<void> {
    using _ = this.#state.begin();
    const fault = this.fault?.(operation);
    const settle = async (): Promise<void> => {
      await this.#delay?.(operation);
      this.#state.checkAlive();
      if (!fault) return;
      throw new HoldfastError(fault, `${this.name}: ${operation.kind} failed as told`, {
        details: { offset: operation.offset, lengthBytes: operation.lengthBytes },
      });
    };
    await work(settle, fault !== undefined);
  }

  #start(write: SimulatedWrite): void {
    const end = write.offset + write.bytes.length;
    for (const other of this.#underWay) {
      const isApart = end <= other.offset || other.offset + other.bytes.length <= write.offset;
      assert(isApart, 'writes under way do not overlap');
    }
    this.#underWay.add(write);
    this.#pending.push(write);
    this.#emit({ kind: 'write-start', write });
  }

  #end(write: SimulatedWrite): void {
    this.#underWay.delete(write);
    this.#current.write(write.bytes, write.offset);
    this.#emit({ kind: 'write-end', write });
  }

  #halfWritten(bytes: Uint8Array, offset: number): Uint8Array {
    const mixed = new Uint8Array(bytes.length);
    this.#current.read(mixed, offset);
    mixed.set(bytes.subarray(0, bytes.length / 2));
    return mixed;
  }

  #emit(event: SimulatedEvent): void {
    if (this.#hasPower) this.#onEvent?.(event, this);
  }
}

/** What of a pending write is before `endBytes`; nothing, or one write. */
function cutWrite(write: SimulatedWrite, endBytes: number): SimulatedWrite[] {
  const { offset, bytes } = write;
  if (offset >= endBytes) return [];
  if (offset + bytes.length <= endBytes) return [write];
  return [{ ...write, bytes: bytes.subarray(0, endBytes - offset) }];
}
