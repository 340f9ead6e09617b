/**
 * Repair over the stores, the references and the namespaces that this node can reach: that of the
 * steward. Every run begins with a look at the digests of all stores; only groups that are not
 * known to be whole are looked at stripe by stripe.
 */
import {
  assert,
  chunkIdParts,
  errorCode,
  groupOf,
  HoldfastError,
  mapBounded,
  Mutex,
  type StripeId,
  throwIfAborted,
  toHex,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Inode, Release, WantedStripe } from '../meta/index.ts';
import {
  bearableLosses,
  type CensusContext,
  type GroupCensus,
  type HeldChunk,
  stateOf,
  type Unconfirmed,
} from './census.ts';
import {
  type CollectorContext,
  byHolder,
  deleteLeftovers,
  deleteUnnamed,
  dropReferences,
  finishLoose,
  finishLooseOf,
  finishRelease,
  releaseForgotten,
  settleStrays,
} from './collector.ts';
import { type Found, type LookedAt, Looker } from './looker.ts';
import { leavingDevices } from '../placement/index.ts';
import { AUTOMATIC_RATES, Pacer, type PaceRates } from './pace.ts';
import { type Plan, planFor, type PlanContext, type Step } from './planner.ts';
import type {
  CollectOptions,
  CollectSummary,
  HealthSummary,
  Repair,
  RepairRunOptions,
  RepairStatus,
  RepairSummary,
  RunOptions,
  ScrubSummary,
} from './repair.ts';
import { contentBytes, runSteps } from './run-steps.ts';
import { type RunMeter, StatusBoard } from './status-board.ts';
import { Unheard } from './unheard.ts';
import type { WholeGroupsContext } from './whole-groups.ts';

/** What repair knows of by itself. */
type Own = 'onReleased' | 'onDeleted';

interface RepairContext extends CensusContext, Omit<CollectorContext, Own>, WholeGroupsContext {
  readonly env: Env;
  /** Volumes that are open. */
  readonly volumes: () => readonly string[];
  /** Whether clients wait for what repair would use: then an automatic run makes way. */
  readonly isBusy?: (() => boolean) | undefined;
  /** Of automatic runs. */
  readonly rates?: PaceRates | undefined;
}

export type RepairOptions = RepairContext;

/** @returns an object of plain functions: `{ ...repair, scrub }` is one as well. */
export function openRepair(options: RepairOptions): Repair {
  const runner = new RepairRunner(options);
  return {
    scrub: (run) => runner.scrub(run),
    health: (run) => runner.health(run),
    repair: (run) => runner.repair(run),
    collect: (run) => runner.collect(run),
    release: (volume, release) => runner.release(volume, release),
    releaseLoose: (volume, inode) => runner.releaseLoose(volume, inode),
    abandon: (volume, inode, stripes) => runner.abandon(volume, inode, stripes),
    status: () => runner.status(),
  };
}

/** What a look found to do. */
interface Work {
  readonly steps: Step[];
  lost: number;
  skipped: number;
  /** Without a record since they lost their last reference: no grace for them (ruling 14). */
  readonly unheard: WantedStripe[];
  /** Stripes that wait for devices which may be back soon. */
  awaited: number;
  stripesAtRisk: number;
  bytesAtRisk: number;
}

class RepairRunner implements Repair {
  readonly #context: RepairContext;
  readonly #collector: CollectorContext;
  readonly #looker: Looker;
  readonly #board: StatusBoard;
  readonly #unheard = new Unheard();
  /** Two collectors would end each other's sessions. */
  readonly #collecting = new Mutex();

  constructor(options: RepairOptions) {
    this.#context = options;
    this.#board = new StatusBoard(options.env.clock);
    this.#looker = new Looker(options, this.#board);
    this.#collector = {
      ...options,
      onReleased: (stripe) => this.#looker.doubt(groupOf(stripe)),
      onDeleted: (stripe, isEverywhere) => {
        if (isEverywhere) this.#unheard.delete(stripe);
        else this.#unheard.add(stripe);
      },
    };
  }

  async status(): Promise<RepairStatus> {
    return this.#board.status();
  }

  async scrub({ signal, onProgress }: RunOptions = {}): Promise<ScrubSummary> {
    using meter = this.#board.begin('scrub');
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
            [meter.doneCount, meter.totalCount] = [bytes, totalCount];
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
      mended: findings.filter(({ kind }) => kind === 'mended').length,
      failedStores,
    };
  }

  async health(options: RunOptions = {}): Promise<HealthSummary> {
    using meter = this.#board.begin('health');
    const stripes = { ok: 0, degraded: 0, lost: 0 };
    const bySpare: Record<string, number> = {};
    let misplaced = 0;
    let unnamedChunks = 0;
    let badChunks = 0;
    const { whole } = await this.#looker.look(
      { ...options, meter },
      async ({ stripes: found, unnamed }, at) => {
        const context = await this.#planContext(at, false);
        unnamedChunks += unnamed.flat().length;
        for (const census of found) {
          const state = stateOf(census);
          stripes[state] += 1;
          badChunks += census.held.filter(({ entry }) => !entry.isGood).length;
          if (state === 'ok' && isToMove(planFor(census, context))) misplaced += 1;
          if (state === 'ok') continue;
          const spare = String(bearableLosses(census));
          bySpare[spare] = (bySpare[spare] ?? 0) + 1;
        }
      },
    );
    for (const contents of whole.values()) {
      stripes.ok += contents.reduce((sum, { count }) => sum + count, 0);
    }
    return { stripes, bySpare, misplaced, unnamedChunks, badChunks };
  }

  async repair(options: RepairRunOptions = {}): Promise<RepairSummary> {
    const { signal, onProgress } = options;
    const { env, stripes, cluster } = this.#context;
    using meter = this.#board.begin('look');
    // Nobody shall be told of an older layout, or have things moved by it.
    await cluster.refresh();
    const { groups, steps, ...found } = await this.#findWork(options, meter);
    this.#board.stripesAtRisk = found.stripesAtRisk;
    this.#board.bytesAtRisk = found.bytesAtRisk;
    const pacer = this.#pacerFor(options);
    const context = { env, stripes, pacer, board: this.#board, meter, signal, onProgress };
    const { repaired, writtenBytes } = await runSteps(context, steps);
    if (found.unheard.length > 0) {
      await this.#collecting.run(() => this.#deleteUnnamed(found.unheard));
    }
    const hasWorked = steps.length + found.unheard.length > 0;
    await this.#looker.record(hasWorked ? await this.#looker.lookAgain() : groups);
    this.#board.repairHasEnded();
    const incomplete = steps.length - repaired + found.awaited;
    return { repaired, incomplete, skipped: found.skipped, lost: found.lost, writtenBytes };
  }

  async #findWork(
    { signal, isAutomatic = false }: RepairRunOptions,
    meter: RunMeter,
  ): Promise<Work & { readonly groups: Found }> {
    const found: Work = {
      steps: [],
      unheard: [],
      lost: 0,
      skipped: 0,
      awaited: 0,
      stripesAtRisk: 0,
      bytesAtRisk: 0,
    };
    const groups = await this.#looker.look({ signal, meter }, async (census, at) => {
      found.unheard.push(...this.#unheardIn(census));
      found.skipped += census.pending.filter((each) => stateOf(each) !== 'ok').length;
      const context = await this.#planContext(at, isAutomatic);
      for (const each of census.stripes) {
        const plan = planFor(each, context);
        if (plan === 'lost') found.lost += 1;
        else if (plan === 'wait') found.awaited += 1;
        else if (plan !== 'nothing') found.steps.push(plan);
        if (stateOf(each) !== 'degraded') continue;
        found.stripesAtRisk += 1;
        found.bytesAtRisk += contentBytes(each.record);
      }
    });
    return { groups, ...found };
  }

  async #planContext(
    { group, epoch, silent }: LookedAt,
    waitsForAway: boolean,
  ): Promise<PlanContext> {
    const { stores, cluster } = this.#context;
    const alive = new Set(stores().map(({ id }) => id));
    return {
      isAlive: (device) => alive.has(device) && !silent.has(device),
      leaving: leavingDevices(cluster.topology()),
      hasLayoutMoved: (await this.#looker.epochOf(group)) < epoch,
      waitsForAway,
    };
  }

  #pacerFor({ isAutomatic, rateBytesPerSecond }: RepairRunOptions): Pacer {
    const { env, isBusy, rates = AUTOMATIC_RATES } = this.#context;
    const run = rateBytesPerSecond ?? (isAutomatic ? rates.run : undefined);
    return new Pacer({
      clock: env.clock,
      rates: { run, device: isAutomatic ? rates.device : undefined },
      isBusy: isAutomatic ? isBusy : undefined,
    });
  }

  #unheardIn({ unnamed }: GroupCensus): WantedStripe[] {
    return unnamed.map(wantedOf).filter(({ stripe }) => this.#unheard.has(stripe));
  }

  /** @returns stripes that were deleted. */
  async #deleteUnnamed(unnamed: readonly WantedStripe[]): Promise<StripeId[]> {
    const { plantedFault, stripes } = this.#context;
    if (plantedFault !== 'grace-alone') return await deleteUnnamed(this.#collector, unnamed);
    for (const { stripe, schemeNumber } of unnamed) {
      await stripes.remove({ stripe, schemeNumber, generation: 2 ** 24 - 1 });
    }
    return unnamed.map(({ stripe }) => stripe);
  }

  async collect(options: CollectOptions): Promise<CollectSummary> {
    return await this.#collecting.run(() => this.#collect(options));
  }

  async #collect(options: CollectOptions): Promise<CollectSummary> {
    using meter = this.#board.begin('collect');
    const context = this.#collector;
    const { references, volumes } = this.#context;
    let deletedStripes = await deleteLeftovers(context);
    let releases = 0;
    const strays = await references.strays();
    for (const ofHolder of byHolder(strays)) {
      throwIfAborted(options.signal);
      deletedStripes += (await settleStrays(context, ofHolder)).length;
    }
    for (const volume of volumes()) {
      await releaseForgotten(context, volume);
      for (const release of (await context.namespaceOf(volume)?.releases()) ?? []) {
        throwIfAborted(options.signal);
        deletedStripes += (await finishRelease(context, volume, release)).length;
        releases += 1;
      }
      // Releases first: they leave loose stripes of what was written in place.
      deletedStripes += (await finishLoose(context, volume, options.signal)).length;
    }
    const deletedChunks = await this.#collectGroups({ ...options, meter });
    return { releases, strays: strays.length, deletedStripes, deletedChunks };
  }

  /** Confirms what is committed and deletes what nothing names. @returns chunks deleted. */
  async #collectGroups({
    graceMs,
    ...options
  }: CollectOptions & { readonly meter: RunMeter }): Promise<number> {
    const oldest = this.#context.env.clock.now() - graceMs;
    const unnamed: { wanted: WantedStripe; chunkCount: number }[] = [];
    await this.#looker.look(options, async (census) => {
      for (const each of census.unconfirmed) await this.#confirm(each);
      for (const held of census.unnamed) {
        const wanted = wantedOf(held);
        const isYoung = held.some(({ entry }) => entry.writtenAtMs > oldest);
        if (isYoung && !this.#unheard.has(wanted.stripe)) continue;
        unnamed.push({ wanted, chunkCount: held.length });
      }
    });
    const stripes = unnamed.map(({ wanted }) => wanted);
    const deleted = new Set((await this.#deleteUnnamed(stripes)).map(toHex));
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
    const namespace = this.#context.namespaceOf(volume);
    if (!namespace) throw new HoldfastError('HF_NOT_FOUND', 'the volume is not open here');
    // It may have been open when it was removed, as far as its cell knew.
    await this.#collector.treeOf(volume)?.releaseOrphans([release.inode]);
    // Another node may ask, and be late or wrong: what is alive keeps its references.
    if (!(await namespace.isToRelease(release.inode))) return;
    await finishRelease(this.#collector, volume, release);
    // It leaves loose stripes of what was written in place.
    if (this.#collector.treeOf(volume)) await this.releaseLoose(volume, release.inode);
  }

  async releaseLoose(volume: string, inode: Inode): Promise<void> {
    await finishLooseOf(this.#collector, volume, inode);
  }

  async abandon(volume: string, inode: Inode, stripes: readonly StripeId[]): Promise<void> {
    const outcome = await this.#context.namespaceOf(volume)?.refuse(inode);
    if (outcome !== 'refused') return;
    await dropReferences(this.#collector, { volume, inode }, stripes);
    await finishRelease(this.#collector, volume, { inode });
  }
}

/** Whether a repair would bring shards of a stripe to another place. */
function isToMove(plan: Plan): boolean {
  return typeof plan === 'object' && (plan.kind === 'move' || plan.kind === 'hand-off');
}

function wantedOf([first]: readonly HeldChunk[]): WantedStripe {
  assert(first, 'a stripe of which chunks are held has one');
  const { stripe, schemeNumber } = chunkIdParts(first.entry.id);
  return { stripe, schemeNumber, chunkBytes: first.entry.lengthBytes };
}
