/**
 * Writes frames to a connection. Small ones are gathered and leave together at the end of the turn
 * of the event loop, or as soon as a batch is full, so that the other end can begin. While the
 * connection is *blocked* (it has as much as it should), streams wait and take turns, one frame
 * each; small frames go out all the same, up to a bound.
 *
 * What a stream writes is copied behind its header into a *tray*, so that it is one write; a tray
 * is used again once the connection has taken what is in it. Two writes joined by `cork` would not
 * save the copy: Node makes it as well, into new memory each time.
 */
import type { Duplex } from 'node:stream';
import { asBuffer, LIMITS } from '../base/index.ts';
import { type FrameType, HEADER_BYTES, writeHeader } from './frame.ts';
import type { MuxStream } from './mux-stream.ts';

/** Up to this size a payload is copied behind its header: one piece for the socket, not two. */
const COPIED_BYTES_MAX = 2048;

/** About thirty small calls. Measured with 64 in flight: 1 to 64 KiB make no difference. */
const BATCH_BYTES = 4096;

/** Batches are cut from a slab; what was cut belongs to the socket. */
const SLAB_BYTES = 64 * 1024;

/** A batch and the largest piece of a stream. */
const TRAY_BYTES = SLAB_BYTES + LIMITS.dataFrameBytesMax;
const SPARE_TRAYS_MAX = 2;

export class FrameWriter {
  readonly #duplex: Duplex;
  readonly #waiting = new Set<MuxStream>();
  #slab: Buffer = Buffer.alloc(0);
  /** The batch under way is `#slab` from `#batchStart` to `#batchEnd`. */
  #batchStart = 0;
  #batchEnd = 0;
  readonly #spareTrays: Buffer[] = [];
  #isBlocked = false;
  #isFlushDue = false;

  constructor(duplex: Duplex) {
    this.#duplex = duplex;
    duplex.on('drain', () => this.#onRoom());
  }

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** More is waiting than an honest peer lets come together. */
  get isOverfull(): boolean {
    return this.#duplex.writableLength > 2 * LIMITS.queuedBytesPerConnectionMax;
  }

  /** Whether large replies should wait for a better time. */
  get isFull(): boolean {
    return this.#duplex.writableLength > LIMITS.queuedBytesPerConnectionMax;
  }

  /** The payload belongs to the network from now on. */
  send(type: FrameType, stream: number, payload?: Uint8Array): void {
    const bytes = payload?.length ?? 0;
    const isCopied = bytes <= COPIED_BYTES_MAX;
    const at = this.#reserve(isCopied ? HEADER_BYTES + bytes : HEADER_BYTES);
    writeHeader(this.#slab, at, { type, stream, payload });
    if (payload && isCopied) this.#slab.set(payload, at + HEADER_BYTES);
    if (payload && !isCopied) this.#sendBehindBatch(payload);
    else if (this.#batchEnd - this.#batchStart >= BATCH_BYTES) this.flush();
    else this.#flushSoon();
  }

  /** Hands what was gathered to the connection. */
  flush(): void {
    if (this.#batchEnd === this.#batchStart) return;
    const batch = this.#slab.subarray(this.#batchStart, this.#batchEnd);
    this.#batchStart = this.#batchEnd;
    this.#write(batch);
  }

  waitForRoom(stream: MuxStream): void {
    this.#waiting.add(stream);
  }

  forget(stream: MuxStream): void {
    this.#waiting.delete(stream);
  }

  /** The offset in the slab of so many bytes more of the batch. */
  #reserve(bytes: number): number {
    if (this.#batchEnd + bytes > this.#slab.length) {
      this.flush();
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#batchStart = 0;
      this.#batchEnd = 0;
    }
    const at = this.#batchEnd;
    this.#batchEnd += bytes;
    return at;
  }

  #sendBehindBatch(payload: Uint8Array): void {
    if (payload.length > LIMITS.dataFrameBytesMax) return this.#sendApart(payload);
    const tray = this.#spareTrays.pop() ?? Buffer.allocUnsafeSlow(TRAY_BYTES);
    const batchBytes = this.#slab.copy(tray, 0, this.#batchStart, this.#batchEnd);
    this.#batchStart = this.#batchEnd;
    tray.set(payload, batchBytes);
    this.#write(tray.subarray(0, batchBytes + payload.length), () => {
      if (this.#spareTrays.length < SPARE_TRAYS_MAX) this.#spareTrays.push(tray);
    });
  }

  /** A message so large is rare. */
  #sendApart(payload: Uint8Array): void {
    this.#duplex.cork();
    this.flush();
    this.#write(asBuffer(payload));
    this.#duplex.uncork();
  }

  #flushSoon(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    process.nextTick(() => {
      this.#isFlushDue = false;
      this.flush();
    });
  }

  #write(bytes: Buffer, onTaken?: () => void): void {
    if (!this.#duplex.writable) return; // it is about to tell that it is gone
    if (!this.#duplex.write(bytes, onTaken)) this.#isBlocked = true;
  }

  #onRoom(): void {
    this.#isBlocked = false;
    for (const stream of this.#waiting) {
      if (this.#isBlocked) return;
      this.#waiting.delete(stream);
      stream.sendPiece(); // goes to the end of the queue when it has more
    }
  }
}
