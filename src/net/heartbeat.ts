/**
 * Whether the other end of a connection is still there, and how far away. All is counted in ticks,
 * so that a process that was stopped itself does not conclude that all others are gone.
 *
 * *Unanswered*: a ping was sent, and since then neither its pong nor anything else has come. Only a
 * pong is counted, never what the other end has to do for an answer: one that is busy is not taken
 * for one that is gone. One ping is enough for that: connections lose nothing, so it is answered
 * when the other end goes on.
 */
import { LIMITS } from '../base/index.ts';

export class Heartbeat {
  /** Since anything came. */
  #quietTicks = 0;
  #ticksToPing = 0;
  #pingsSeen = 0;
  #number = 0;
  /** Of the ping that has no pong yet. */
  #sent: { readonly atMs: number; ticks: number } | undefined;
  #rttMs: number | undefined;

  /** Of the last ping that was answered. */
  get rttMs(): number | undefined {
    return this.#rttMs;
  }

  /** Nothing has come for so long that nothing will. */
  get isOver(): boolean {
    return this.#quietTicks > LIMITS.silentTicksMax;
  }

  /** Whether a ping is unanswered for so long that an end that runs would have answered. */
  get isSilent(): boolean {
    const ticks = Math.min(this.#quietTicks, this.#sent?.ticks ?? 0);
    return ticks >= LIMITS.unansweredTicksMax;
  }

  /** Something has arrived. */
  onBytes(): void {
    this.#quietTicks = 0;
  }

  /** What waited to be sent has left: a ping may have been behind it until now. */
  onRoom(): void {
    if (this.#sent) this.#sent.ticks = 0;
  }

  /**
   * The number of the ping that is due, if one is.
   * @param isAwaited whether somebody waits for this peer who could ask another one.
   */
  tick(nowMs: number, isAwaited: boolean): number | undefined {
    this.#pingsSeen = 0;
    this.#quietTicks += 1;
    if (this.#sent) this.#sent.ticks += 1;
    this.#ticksToPing -= 1;
    const isDoubted = isAwaited && !this.#sent && this.#quietTicks >= LIMITS.quietTicksMax;
    if (this.#ticksToPing > 0 && !isDoubted) return undefined;
    this.#ticksToPing = LIMITS.pingEveryTicks;
    this.#number = (this.#number + 1) >>> 0;
    this.#sent = { atMs: nowMs, ticks: this.#sent?.ticks ?? 0 };
    return this.#number;
  }

  /** A ping of the other end; false when there are too many of them. */
  mayPing(): boolean {
    this.#pingsSeen += 1;
    return this.#pingsSeen <= LIMITS.pingsPerTickMax;
  }

  onPong(number: number, nowMs: number): void {
    if (!this.#sent || number !== this.#number) return;
    this.#rttMs = nowMs - this.#sent.atMs;
    this.#sent = undefined;
  }
}
