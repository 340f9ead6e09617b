/**
 * A disk of a simulated machine: media that outlive power cuts, and at most one device over them at
 * a time. A power cut leaves a chance subset of the writes that no flush had covered, some of them
 * torn.
 *
 *   here ──take──▶ away ──bring──▶ here        here, away ──lose──▶ lost (for good)
 */
import { assert, type DeviceId, LIMITS } from '../src/base/index.ts';
import {
  type CrashPoint,
  Media,
  SimulatedDevice,
  type SimulatedOperation,
  type SimulatedWrite,
} from '../src/device/index.ts';
import type { SeededRandom } from './random.ts';
import type { Process } from './sim-env.ts';

/** A disk writes a sector whole or not at all. */
const SECTOR_BYTES = 512;
/** Blocks remembered as written, for rot that hits something. */
const WRITTEN_MAX = 4096;

/** How long operations take, in ms. */
export interface DiskPace {
  readonly readMs: number;
  readonly writeMs: number;
  readonly flushMs: number;
}

export interface DiskOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly pace: DiskPace;
  readonly random: SeededRandom;
}

export class SimDisk {
  readonly name: string;
  readonly sizeBytes: number;
  /** Known once it is formatted. */
  id: DeviceId | undefined;
  state: 'here' | 'away' | 'lost' = 'here';
  /** What it is counted as in the topology. */
  isWrittenOff = false;
  /** Chance that a read fails. */
  readErrorRate = 0;
  /** Something of it may have rotted since it was scrubbed last, superblocks too. */
  isRotten = false;
  /** Nothing may be put on it: its store has a maximum that is reached. */
  isFull = false;
  /** Operations started before this moment of virtual time wait until then. */
  hungUntilMs = 0;
  readonly #pace: DiskPace;
  readonly #random: SeededRandom;
  #media: Media;
  #device: SimulatedDevice | undefined;
  readonly #written: number[] = [];

  constructor({ name, sizeBytes, pace, random }: DiskOptions) {
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.#pace = pace;
    this.#random = random.fork(name);
    this.#media = new Media(sizeBytes);
  }

  /** Whether a device stands over it. */
  get isPowered(): boolean {
    return this.#device !== undefined;
  }

  /** Powers it on for one life of the node; the device dies with {@link cutPower}. */
  powerOn(life: Process): SimulatedDevice {
    assert(!this.#device, 'a disk has one user');
    assert(this.state === 'here', 'a disk is used where it is');
    this.#device = new SimulatedDevice({
      media: this.#media,
      name: this.name,
      delay: (operation) => this.#delay(life, operation),
      fault: ({ kind }) =>
        kind === 'read' && this.#random.chance(this.readErrorRate) ? 'HF_IO' : undefined,
      onEvent: (event) => {
        if (event.kind !== 'write-end') return;
        life.note(`${this.name} wrote ${event.write.bytes.length} at ${event.write.offset}`);
        this.#remember(event.write);
      },
    });
    return this.#device;
  }

  async #delay(life: Process, { kind, lengthBytes }: SimulatedOperation): Promise<void> {
    const { readMs, writeMs, flushMs } = this.#pace;
    const base = kind === 'read' ? readMs : kind === 'flush' ? flushMs : writeMs;
    const transferMs = lengthBytes / 200_000;
    const hungMs = Math.max(0, this.hungUntilMs - life.env.clock.monotonic());
    await life.sleep(base * (0.5 + this.#random.fraction()) + transferMs + hungMs);
  }

  #remember({ offset, bytes }: SimulatedWrite): void {
    const first = offset / LIMITS.blockBytes;
    for (let i = 0; i < bytes.length / LIMITS.blockBytes; i++) {
      if (this.#written.length < WRITTEN_MAX) this.#written.push(first + i);
      else this.#written[this.#random.below(WRITTEN_MAX)] = first + i;
    }
  }

  /** What is on the media after a power cut, or after a clean end when nothing was pending. */
  cutPower(): void {
    const point = this.#device?.powerOff();
    this.#device = undefined;
    if (point) this.#media = this.#survivors(point);
  }

  #survivors({ durable, pending }: CrashPoint): Media {
    const media = durable.fork();
    const keptChance = this.#random.pick([0, 0.5, 0.9, 1]);
    const tornChance = this.#random.pick([0, 0, 0.3]);
    for (const write of pending) {
      if (!this.#random.chance(keptChance)) continue;
      if (this.#random.chance(tornChance)) this.#tear(media, write);
      else media.write(write.bytes, write.offset);
    }
    return media;
  }

  #tear(media: Media, { offset, bytes }: SimulatedWrite): void {
    const mixed = new Uint8Array(bytes.length);
    media.read(mixed, offset);
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
      if (this.#random.chance(0.3)) continue;
      mixed.set(bytes.subarray(at, at + SECTOR_BYTES), at);
    }
    media.write(mixed, offset);
  }

  /** Flips bits in blocks that were written once. @returns where, for the trace. */
  rot(count: number): string {
    if (this.#written.length === 0) return 'nothing written yet';
    const places: number[] = [];
    for (let i = 0; i < count; i++) {
      const block = this.#random.pick(this.#written);
      const offset = block * LIMITS.blockBytes + this.#random.below(LIMITS.blockBytes);
      (this.#device ?? this.#media).flipBit(offset, this.#random.below(8));
      places.push(offset);
    }
    return places.join(' ');
  }
}
