/**
 * A member of a cell that is no steward: it follows the log into its database, so that it can take
 * over at once. It never seizes; rows that do not follow the log are made again from it.
 */
import { errorCode, LIMITS } from '../../base/index.ts';
import type { Lsn } from '../../log/index.ts';
import { applyEntry } from './apply.ts';
import { catchUp } from './catch-up.ts';
import type { CellFault } from './cell-faults.ts';
import { type Applied, NOTHING_APPLIED } from './entries.ts';
import type { CellParts } from './steward.ts';

export interface ReplicaOptions extends CellParts {
  /** How often it looks at the log by itself; LIMITS.replicaIntervalMs when left out. */
  readonly intervalMs?: number | undefined;
  readonly faults?: CellFault | undefined;
}

export class Replica implements AsyncDisposable {
  readonly #options: ReplicaOptions;
  readonly #ending = new AbortController();
  #applied: Applied | undefined;
  #following: Promise<void> | undefined;
  /** The log is known to reach so far. */
  #wantedLsn: Lsn = 0;

  private constructor(options: ReplicaOptions) {
    this.#options = options;
  }

  /** Begins to follow; the rows may be far behind yet. */
  static async open(options: ReplicaOptions): Promise<Replica> {
    const replica = new Replica(options);
    void replica.#run();
    return replica;
  }

  /** How far the rows have come. */
  get applied(): Applied {
    return this.#applied ?? NOTHING_APPLIED;
  }

  /** Looks at the log now, unless it has come so far already. */
  nudge(lsn: Lsn): void {
    this.#wantedLsn = Math.max(this.#wantedLsn, lsn);
    if (this.applied.lsn < lsn) void this.#look();
  }

  /** Resolves when the rows have come as far as the log was at the call. @throws as the log. */
  async caughtUp(): Promise<void> {
    const { log, cell } = this.#options;
    const { lsn } = await log.head(cell);
    while (this.applied.lsn < lsn && !this.#ending.signal.aborted) {
      await this.#following;
      if (this.applied.lsn < lsn) await this.#once(() => this.#follow());
    }
  }

  /** Ends the following; then the database may go to {@link Cell.open}. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#following?.catch(() => undefined); // whoever asked is told
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    const { env, intervalMs = LIMITS.replicaIntervalMs } = this.#options;
    void this.#look();
    for await (const _ of env.clock.every(intervalMs, { signal })) await this.#look();
  }

  /** Never fails: it looks again. */
  async #look(): Promise<void> {
    const { env, cell } = this.#options;
    try {
      await this.#once(async () => {
        do await this.#follow();
        while (this.#wantedLsn > this.applied.lsn && !this.#ending.signal.aborted);
      });
    } catch (error) {
      env.log.warn('a replica could not follow its log', { cell, error });
    }
  }

  /** One at a time; whoever comes meanwhile shares it. */
  async #once(work: () => Promise<void>): Promise<void> {
    this.#following ??= work().finally(() => (this.#following = undefined));
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { log, cell } = this.#options;
    const { lsn } = await log.head(cell);
    try {
      await this.#applyUpTo(lsn);
    } catch (error) {
      const code = errorCode(error);
      if (code !== 'HF_NOT_FOUND' && code !== 'HF_CORRUPT') throw error;
      // Trimmed, or not ours: the snapshot says more, or the rows are made again.
      this.#applied = undefined;
      await this.#applyUpTo((await log.head(cell)).lsn);
    }
  }

  async #applyUpTo(lsn: Lsn): Promise<void> {
    const { log, cell, db, faults } = this.#options;
    const isDigestUnchecked = faults === 'no-digest';
    if (!this.#applied) {
      this.#applied = await catchUp({ ...this.#options, isDigestUnchecked }, lsn);
    }
    if (this.#applied.lsn >= lsn) return;
    for await (const entry of log.read(cell, this.#applied.lsn + 1)) {
      if (this.#ending.signal.aborted) return;
      this.#applied = await applyEntry(db, this.#applied, entry, { isDigestUnchecked });
    }
  }
}
