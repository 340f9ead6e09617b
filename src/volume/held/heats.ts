/** How much is done in directories that are not held: whether one is worth holding. */
import { LIMITS, remember } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import type { Inode } from '../../meta/index.ts';

export const WEIGHT = { look: 0.25, list: 0.5, change: 1 } as const;

/** Weight of the operations of about a second from which on it is worth it. */
const HEAT_MIN = 2;
const HEAT_MS = 1000;
const HEATS_MAX = 1024;

interface Heat {
  weight: number;
  sinceMs: number;
  /** Not to be asked for before. */
  againMs: number;
}

export class Heats {
  readonly #clock: Clock;
  readonly #heats = new Map<Inode, Heat>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns whether it is to be held now. */
  add(directory: Inode, weight: number): boolean {
    const nowMs = this.#clock.monotonic();
    const heat = this.#heats.get(directory) ?? { weight: 0, sinceMs: nowMs, againMs: -Infinity };
    remember(this.#heats, directory, heat, HEATS_MAX);
    if (nowMs - heat.sinceMs > HEAT_MS) Object.assign(heat, { weight: 0, sinceMs: nowMs });
    heat.weight += weight;
    return heat.weight >= HEAT_MIN && nowMs >= heat.againMs;
  }

  /** Not to be held for a while. */
  refuse(directory: Inode): void {
    const againMs = this.#clock.monotonic() + LIMITS.leaseAgainMs;
    remember(this.#heats, directory, { weight: 0, sinceMs: -Infinity, againMs }, HEATS_MAX);
  }
}
