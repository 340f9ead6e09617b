/**
 * Whether the other end of a connection is still there, and how far away. Silence is counted in
 * ticks, so that a process that was stopped itself does not conclude that all others are gone.
 */
import { LIMITS } from '../base/index.ts';

export class Heartbeat {
  #silentTicks = 0;
  #ticksToPing = 0;
  #pingsSeen = 0;
  #number = 0;
  /** When the ping that has no answer yet was sent. */
  #sentAtMs: number | undefined;
  #rttMs: number | undefined;

  /** Of the last ping that was answered. */
  get rttMs(): number | undefined {
    return this.#rttMs;
  }

  get isSilent(): boolean {
    return this.#silentTicks > LIMITS.silentTicksMax;
  }

  /** Something has arrived. */
  onBytes(): void {
    this.#silentTicks = 0;
  }

  /** The number of the ping that is due, if one is. */
  tick(nowMs: number): number | undefined {
    this.#pingsSeen = 0;
    this.#silentTicks += 1;
    this.#ticksToPing -= 1;
    if (this.#ticksToPing > 0) return undefined;
    this.#ticksToPing = LIMITS.pingEveryTicks;
    this.#number = (this.#number + 1) >>> 0;
    this.#sentAtMs = nowMs;
    return this.#number;
  }

  /** A ping of the other end; false when there are too many of them. */
  mayPing(): boolean {
    this.#pingsSeen += 1;
    return this.#pingsSeen <= LIMITS.pingsPerTickMax;
  }

  onPong(number: number, nowMs: number): void {
    if (this.#sentAtMs === undefined || number !== this.#number) return;
    this.#rttMs = nowMs - this.#sentAtMs;
    this.#sentAtMs = undefined;
  }
}
