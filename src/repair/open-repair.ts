/** The runner: walks stores and groups, reports progress, bounded in what it does at once. */
import {
  assert,
  chunkIdParts,
  errorCode,
  GROUP_COUNT,
  LIMITS,
  mapBounded,
  Mutex,
  throwIfAborted,
  toHex,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Inode, Release, WantedStripe } from '../meta/index.ts';
import {
  type CensusContext,
  type HeldChunk,
  spareCount,
  stateOf,
  type StripeCensus,
  takeCensus,
  type Unconfirmed,
} from './census.ts';
import {
  type CollectorContext,
  deleteCondemned,
  deleteUnnamed,
  dropReferences,
  finishRelease,
  settleStray,
} from './collector.ts';
import type {
  CollectSummary,
  HealthSummary,
  Repair,
  RepairSummary,
  RunOptions,
  ScrubSummary,
} from './repair.ts';

export interface RepairOptions extends CensusContext, CollectorContext {
  readonly env: Env;
  /** Volumes that are open. */
  readonly volumes: () => readonly string[];
}

/** @returns an object of plain functions: `{ ...repair, scrub }` is one as well. */
export function openRepair(options: RepairOptions): Repair {
  const runner = new RepairRunner(options);
  return {
    scrub: (run) => runner.scrub(run),
    health: (run) => runner.health(run),
    repair: (run) => runner.repair(run),
    collect: (run) => runner.collect(run),
    release: (volume, release) => runner.release(volume, release),
    abandon: (volume, inode, stripes) => runner.abandon(volume, inode, stripes),
  };
}

class RepairRunner implements Repair {
  readonly #context: RepairOptions;
  /** Two collectors would end each other's sessions. */
  readonly #collecting = new Mutex();

  constructor(options: RepairOptions) {
    this.#context = options;
  }

  async scrub({ signal, onProgress }: RunOptions = {}): Promise<ScrubSummary> {
    const stores = this.#context.stores();
    const done = new Map<string, readonly [checked: number, total: number]>();
    const failedStores: string[] = [];
    const reports = await mapBounded(stores, stores.length || 1, async (store) => {
      try {
        return await store.scrub({
          signal,
          onProgress: (checked, total) => {
            done.set(store.id, [checked, total]);
            const counts = [...done.values()];
            const bytes = counts.reduce((sum, [read]) => sum + read, 0);
            const totalCount = counts.reduce((sum, [, all]) => sum + all, 0);
            onProgress?.({ doneCount: bytes, totalCount, bytes });
          },
        });
      } catch (error) {
        throwIfAborted(signal);
        this.#context.env.log.warn('a store could not be scrubbed', { store: store.id, error });
        failedStores.push(store.id);
        return { checkedChunks: 0, checkedBytes: 0, findings: [] };
      }
    });
    const findings = reports.flatMap((report) => report.findings);
    return {
      checked: reports.reduce((sum, report) => sum + report.checkedChunks, 0),
      checkedBytes: reports.reduce((sum, report) => sum + report.checkedBytes, 0),
      bad: findings.filter(({ kind }) => kind === 'bad-chunk').length,
      unreadable: findings.filter(({ kind }) => kind === 'unreadable').length,
      mended: findings.filter(({ kind }) => kind === 'mended').length,
      failedStores,
    };
  }

  async health(options: RunOptions = {}): Promise<HealthSummary> {
    const stripes = { ok: 0, degraded: 0, lost: 0 };
    const bySpare: Record<string, number> = {};
    let misplaced = 0;
    let unnamedChunks = 0;
    let badChunks = 0;
    await this.#eachGroup(options, ({ stripes: counted, unnamed }) => {
      unnamedChunks += unnamed.flat().length;
      for (const census of counted) {
        const state = stateOf(census);
        stripes[state] += 1;
        badChunks += census.held.filter(({ entry }) => !entry.isGood).length;
        if (state === 'ok' && !census.isInPlace) misplaced += 1;
        if (state === 'ok') continue;
        const spare = String(Math.max(-1, spareCount(census)));
        bySpare[spare] = (bySpare[spare] ?? 0) + 1;
      }
    });
    return { stripes, bySpare, misplaced, unnamedChunks, badChunks };
  }

  async repair(options: RunOptions = {}): Promise<RepairSummary> {
    const { signal, onProgress } = options;
    const needy: StripeCensus[] = [];
    let lost = 0;
    let skipped = 0;
    await this.#eachGroup({ signal }, ({ stripes, pending }) => {
      skipped += pending.filter((census) => stateOf(census) !== 'ok').length;
      for (const census of stripes) {
        if (spareCount(census) < 0) lost += 1;
        else if (stateOf(census) !== 'ok' || !census.isInPlace || hasSurplus(census)) {
          needy.push(census);
        }
      }
    });
    needy.sort((a, b) => spareCount(a) - spareCount(b));
    let repaired = 0;
    let writtenBytes = 0;
    let doneCount = 0;
    await mapBounded(needy, LIMITS.stripesInFlightMax, async ({ record }) => {
      throwIfAborted(signal);
      try {
        const report = await this.#context.stripes.rebuild(record, { signal });
        writtenBytes += report.writtenBytes;
        if (report.health.isWhole) repaired += 1;
      } catch (error) {
        throwIfAborted(signal);
        // One stripe that cannot be repaired now must not keep the others from it.
        this.#context.env.log.warn('a stripe could not be repaired', { error });
      }
      doneCount += 1;
      onProgress?.({ doneCount, totalCount: needy.length, bytes: writtenBytes });
    });
    return { repaired, incomplete: needy.length - repaired, skipped, lost, writtenBytes };
  }

  async collect(options: { graceMs: number } & RunOptions): Promise<CollectSummary> {
    return await this.#collecting.run(() => this.#collect(options));
  }

  async #collect(options: { graceMs: number } & RunOptions): Promise<CollectSummary> {
    const context = this.#context;
    const leftovers = await context.references.condemned();
    await deleteCondemned(context, leftovers);
    let deletedStripes = leftovers.length;
    let releases = 0;
    const strays = await context.references.strays();
    for (const { holder, stripe } of strays) {
      throwIfAborted(options.signal);
      deletedStripes += (await settleStray(context, holder, stripe)).length;
    }
    for (const volume of context.volumes()) {
      for (const release of (await context.namespaceOf(volume)?.releases()) ?? []) {
        throwIfAborted(options.signal);
        deletedStripes += (await finishRelease(context, volume, release)).length;
        releases += 1;
      }
    }
    const deletedChunks = await this.#walkGroups(options);
    return { releases, strays: strays.length, deletedStripes, deletedChunks };
  }

  /** Confirms what is committed and deletes what nothing names. @returns chunks deleted. */
  async #walkGroups({ graceMs, ...options }: { graceMs: number } & RunOptions): Promise<number> {
    const oldest = this.#context.env.clock.now() - graceMs;
    const unnamed: { wanted: WantedStripe; chunkCount: number }[] = [];
    await this.#eachGroup(options, async (census) => {
      for (const each of census.unconfirmed) await this.#confirm(each);
      for (const held of census.unnamed) {
        if (held.some(({ entry }) => entry.writtenAtMs > oldest)) continue;
        unnamed.push({ wanted: wantedOf(held), chunkCount: held.length });
      }
    });
    const stripes = unnamed.map(({ wanted }) => wanted);
    const deleted = new Set((await deleteUnnamed(this.#context, stripes)).map(toHex));
    return unnamed
      .filter(({ wanted }) => deleted.has(toHex(wanted.stripe)))
      .reduce((sum, { chunkCount }) => sum + chunkCount, 0);
  }

  /** Its confirmation failed before, or is still on its way: then it is confirmed twice. */
  async #confirm({ holder, stripe }: Unconfirmed): Promise<void> {
    try {
      await this.#context.references.confirm(holder, [stripe]);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      // It stays wanted as it is, so that nothing is lost by the next try being the next run's.
      this.#context.env.log.warn('a stripe could not be confirmed', { error });
    }
  }

  async release(volume: string, release: Release): Promise<void> {
    await finishRelease(this.#context, volume, release);
  }

  async abandon(
    volume: string,
    inode: Inode,
    stripes: Parameters<Repair['abandon']>[2],
  ): Promise<void> {
    const outcome = await this.#context.namespaceOf(volume)?.refuse(inode);
    if (outcome !== 'refused') return;
    await dropReferences(this.#context, { volume, inode }, stripes);
    await finishRelease(this.#context, volume, { inode });
  }

  async #eachGroup(
    { signal, onProgress }: RunOptions,
    look: (census: Awaited<ReturnType<typeof takeCensus>>) => void | Promise<void>,
  ): Promise<void> {
    for (let group = 0; group < GROUP_COUNT; group++) {
      throwIfAborted(signal);
      await look(await takeCensus(this.#context, group));
      onProgress?.({ doneCount: group + 1, totalCount: GROUP_COUNT, bytes: 0 });
    }
  }
}

function wantedOf([first]: readonly HeldChunk[]): WantedStripe {
  assert(first, 'a stripe of which chunks are held has one');
  const { stripe, schemeNumber } = chunkIdParts(first.entry.id);
  return { stripe, schemeNumber, chunkBytes: first.entry.lengthBytes };
}

/** Copies beyond a good one of each shard; a bad one counts, or nobody would ever remove it. */
function hasSurplus({ held, goodCount }: StripeCensus): boolean {
  return held.length > goodCount;
}
