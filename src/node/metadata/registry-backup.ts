/**
 * Copies of the registry in the pool, for when the ring is lost with all that it had. For the home,
 * as long as it is home: it looks every few seconds whether a row has changed. The copy before goes
 * when the new one is durable; those that earlier homes left go with the first.
 */
import { errorCode, errorMessage } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type EtcdRegistry,
  type PoolSnapshot,
  type PoolSnapshots,
  REGISTRY_CELL,
  type RegistryCopy,
} from '../../log/index.ts';
import type { PoolParts } from './pool-parts.ts';

const LOOK_EVERY_MS = 10_000;

export interface RegistryBackupOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly registry: Pick<EtcdRegistry, 'copied'>;
  readonly generation: number;
  readonly pool: Pick<PoolSnapshots, 'all' | 'saveRegistry'>;
  readonly parts: Pick<PoolParts, 'remove'>;
}

export class RegistryBackup {
  readonly #options: RegistryBackupOptions;
  /** The last copy that was saved here, and what it says. */
  #saved: { readonly snapshot: PoolSnapshot; readonly rows: string } | undefined;

  constructor(options: RegistryBackupOptions) {
    this.#options = options;
  }

  /** Until `signal` is aborted. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, log } = this.#options.env;
    this.#saved = undefined; // another home may have been there meanwhile
    for await (const _ of clock.every(LOOK_EVERY_MS, { signal })) {
      try {
        await this.saveIfChanged();
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        log.warn('the registry was not copied to the stores', { reason: errorMessage(error) });
      }
    }
  }

  /** @returns whether it has. @throws as PoolParts.put; HF_UNAVAILABLE. */
  async saveIfChanged(): Promise<boolean> {
    const { registry, generation, pool, parts } = this.#options;
    const copy = await registry.copied();
    const rows = summaryOf(copy);
    if (this.#saved?.rows === rows) return false;
    const older = this.#saved ? [this.#saved.snapshot] : await this.#olderThan(copy);
    const snapshot = await pool.saveRegistry(generation, copy);
    this.#saved = { snapshot, rows };
    await parts.remove(older.flatMap(({ ref, partRefs }) => [ref, ...partRefs]));
    return true;
  }

  async #olderThan({ version }: RegistryCopy): Promise<readonly PoolSnapshot[]> {
    const { generation, pool } = this.#options;
    const isOlder = (one: PoolSnapshot): boolean =>
      one.cell === REGISTRY_CELL && one.generation === generation && one.lsn < version;
    return (await pool.all()).filter(isOlder);
  }
}

/** Which rows there are, in which version: another text when anything has changed. */
function summaryOf({ rows }: RegistryCopy): string {
  return rows.map(({ key, version }) => `${key} ${version}`).join('\n');
}
