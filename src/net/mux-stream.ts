/**
 * One stream of a connection as a Node Duplex: `pipeline`, `for await` and signals work, and a slow
 * reader slows the writer down.
 *
 * *Credit* is how many bytes the other end may still send: a window at first, more as the consumer
 * takes bytes. Invariants: 1. never more than a window is unread; 2. bytes wait in `#arrived` until
 * the consumer asks for them, one slice at a time, so that Node never joins them; they are credited
 * when they leave it; 3. a direction that was not ended properly is reset, so that a cut stream
 * never looks whole.
 * Bytes written to a stream belong to the network; do not change them afterwards.
 */
import { Duplex } from 'node:stream';
import { HoldfastError, LIMITS } from '../base/index.ts';
import { FRAME, type FrameType } from './frame.ts';

/** What a stream needs of its connection. */
export interface StreamCarrier {
  /** Whether the socket has as much as it should; streams wait, small frames do not. */
  readonly isBlocked: boolean;
  send(type: FrameType, stream: number, payload?: Uint8Array): void;
  /** Calls `stream.sendPiece()` when the socket has room, in turns with others. */
  waitForRoom(stream: MuxStream): void;
  /** Something of this stream has moved; its deadline starts again. */
  onMoved(stream: MuxStream): void;
  /** No frame will come from this stream any more, nor is one expected. */
  onClosed(stream: MuxStream): void;
  onViolation(what: string): void;
}

interface PendingWrite {
  rest: Buffer;
  readonly done: (error?: Error | null) => void;
}

const WINDOW_BYTES = LIMITS.streamWindowBytes;

/**
 * Credit goes back in lots of this size. Measured: with half a window the writer often runs dry
 * while it comes; smaller lots cost more frames than they save.
 */
const CREDIT_BYTES = WINDOW_BYTES / 4;

/** Less than what a socket gives at a time. */
const READ_AHEAD_BYTES = 1024;

export class MuxStream extends Duplex {
  readonly id: number;
  readonly #carrier: StreamCarrier;
  #credit = WINDOW_BYTES;
  #pending: PendingWrite | undefined;
  /** What the consumer has not asked for yet. */
  readonly #arrived: Buffer[] = [];
  #isWanted = false;
  /** Of the window of the other end: sent and not credited, and of that, taken by the consumer. */
  #uncreditedBytes = 0;
  #takenBytes = 0;
  #isRemoteEnded = false;
  /** The other end takes nothing more; what is written is dropped. */
  #isStopped = false;
  #hasSent = false;
  #isEndSent = false;

  constructor(id: number, carrier: StreamCarrier) {
    super({
      readableHighWaterMark: READ_AHEAD_BYTES,
      writableHighWaterMark: LIMITS.dataFrameBytesMax,
      emitClose: true,
    });
    this.id = id;
    this.#carrier = carrier;
    // Whoever uses the stream may not have looked at it yet when it fails.
    this.on('error', () => {});
  }

  /** Bytes from the other end. */
  takeData(slices: readonly Buffer[]): void {
    if (this.destroyed) return;
    this.#carrier.onMoved(this);
    for (const slice of slices) this.#uncreditedBytes += slice.length;
    if (this.#isRemoteEnded || this.#uncreditedBytes > WINDOW_BYTES) {
      this.#carrier.onViolation('more bytes than credit');
      this.destroy(new HoldfastError('HF_UNAVAILABLE', 'the other end sent more than it may'));
      return;
    }
    this.#arrived.push(...slices);
    this.#deliver();
  }

  /** No more bytes from the other end. */
  takeEnd(): void {
    this.#carrier.onMoved(this);
    if (this.#isRemoteEnded || this.destroyed) return;
    this.#isRemoteEnded = true;
    this.#deliver();
  }

  takeCredit(bytes: number): void {
    this.#carrier.onMoved(this);
    this.#credit += bytes;
    if (this.#credit > WINDOW_BYTES || bytes === 0) {
      this.#carrier.onViolation('more credit than a window');
      this.destroy(new HoldfastError('HF_UNAVAILABLE', 'the other end granted more than it may'));
      return;
    }
    this.#sendPending(Infinity);
  }

  /** The other end has given up. What it had finished sending can still be read. */
  takeReset(): void {
    if (!this.#isRemoteEnded) {
      this.#isStopped = true;
      this.destroy(new HoldfastError('HF_UNAVAILABLE', 'the other end gave up the stream'));
      return;
    }
    this.#isStopped = true;
    this.#sendPending(Infinity);
    this.#carrier.onClosed(this);
  }

  /** Called by the carrier when there is room: one frame, then it is another stream's turn. */
  sendPiece(): void {
    this.#sendPending(1);
  }

  /**
   * The handler is done: what it wrote is sent to the end; what it did not read is not wanted.
   */
  finish(): void {
    if (this.destroyed) return;
    if (!this.writableEnded) this.end();
    if (this.writableFinished) this.#closeReading();
    else this.once('finish', () => this.#closeReading());
  }

  #closeReading(): void {
    if (!this.#isRemoteEnded) this.destroy();
    // Else it closes by itself once what is left is read; nobody may be there to do so.
    else this.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: PendingWrite['done']): void {
    this.#pending = { rest: chunk, done };
    this.#sendPending(Infinity);
  }

  #sendPending(framesMax: number): void {
    const pending = this.#pending;
    if (!pending || this.destroyed) return;
    for (let frames = 0; pending.rest.length > 0 && !this.#isStopped; frames++) {
      if (this.#credit === 0) return;
      if (this.#carrier.isBlocked || frames === framesMax) {
        this.#carrier.waitForRoom(this);
        return;
      }
      const bytes = Math.min(pending.rest.length, this.#credit, LIMITS.dataFrameBytesMax);
      this.#credit -= bytes;
      this.#hasSent = true;
      this.#carrier.send(FRAME.data, this.id, pending.rest.subarray(0, bytes));
      this.#carrier.onMoved(this);
      pending.rest = pending.rest.subarray(bytes);
    }
    this.#pending = undefined;
    pending.done();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#sendEnd();
    done();
  }

  #sendEnd(): void {
    if (this.#isEndSent || this.#isStopped) return;
    this.#isEndSent = true;
    this.#carrier.send(FRAME.end, this.id);
  }

  override _read(): void {
    this.#isWanted = true;
    if (this.#arrived.length > 0) this.#carrier.onMoved(this);
    this.#deliver();
  }

  /** Hands over slices for as long as the consumer wants more. */
  #deliver(): void {
    while (this.#isWanted && this.#arrived.length > 0) {
      const slice = this.#arrived.shift()!;
      this.#takenBytes += slice.length;
      this.#isWanted = this.push(slice);
    }
    if (this.#isRemoteEnded && this.#arrived.length === 0) this.push(null);
    else this.#grant();
  }

  #grant(): void {
    if (this.#takenBytes < CREDIT_BYTES || this.#isRemoteEnded || this.destroyed) return;
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32LE(this.#takenBytes);
    this.#uncreditedBytes -= this.#takenBytes;
    this.#takenBytes = 0;
    this.#carrier.send(FRAME.credit, this.id, payload);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#isStopped) this.#sayGoodbye(error);
    const pending = this.#pending;
    this.#pending = undefined;
    this.#carrier.onClosed(this);
    done(error);
    pending?.done(error ?? new HoldfastError('HF_CLOSED'));
  }

  /** Node destroys a stream whose reader is done: a direction nobody used is ended, not reset. */
  #sayGoodbye(error: Error | null): void {
    if (this.#isRemoteEnded && this.#isEndSent) return;
    const isUnused = !this.#hasSent && !this.#pending && this.writableLength === 0;
    if (!error && this.#isRemoteEnded && isUnused) this.#sendEnd();
    else this.#carrier.send(FRAME.reset, this.id);
  }
}
