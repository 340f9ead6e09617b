/** Looks after the stores while the node runs: notices losses, writes off, heals. */
import { errorCode } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { type Repair, runHealer } from '../repair/index.ts';
import type { Core } from './core.ts';
import type { StoreSet } from './store-set.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** How often lost stores are looked for. */
const LOOK_EVERY_MS = 1000;
/** A store away for longer is written off, and what it held is made again elsewhere. */
const AWAY_GRACE_MS = 10 * MINUTE_MS;

const HEALER_PACE = {
  lookEveryMs: 10_000,
  collectEveryMs: 60 * MINUTE_MS,
  scrubEveryMs: 14 * DAY_MS,
  graceMs: DAY_MS,
};

export interface CareOptions {
  readonly env: Env;
  readonly core: Core;
  readonly stores: StoreSet;
  readonly repair: Repair;
}

/** Starts the loops; disposing ends them and waits. */
export function startCare(options: CareOptions): AsyncDisposable {
  const { env, core, stores, repair } = options;
  const end = new AbortController();
  const { signal } = end;
  let storeChanges = 0;
  /** What there was to mend when the last repair began; what it could not mend needs no second. */
  let healed: string | undefined;
  const epochNow = (): string => `${core.cluster.layout().epoch}/${storeChanges}`;
  const healer = runHealer(
    {
      env,
      repair: {
        scrub: (run) => repair.scrub(run),
        collect: (run) => repair.collect(run),
        async repair(run) {
          const epoch = epochNow();
          const summary = await repair.repair(run);
          healed = `${epoch}/${await badChunkCount(stores)}`;
          return summary;
        },
      },
      needsRepair: async () => `${epochNow()}/${await badChunkCount(stores)}` !== healed,
      ...HEALER_PACE,
    },
    signal,
  );
  const watch = watchStores(options, () => (storeChanges += 1), signal);
  return {
    async [Symbol.asyncDispose]() {
      end.abort();
      await Promise.all([healer, watch]);
    },
  };
}

async function badChunkCount(stores: StoreSet): Promise<number> {
  let count = 0;
  for (const store of stores.alive()) count += (await store.usage()).badChunkCount;
  return count;
}

/** @param onChange a store went or came back: what was put meanwhile lacks shards. */
async function watchStores(
  { env, core, stores }: CareOptions,
  onChange: () => void,
  signal: AbortSignal,
): Promise<void> {
  for await (const _ of env.clock.every(LOOK_EVERY_MS, { signal })) {
    try {
      const hasChanged = await stores.refresh();
      if (hasChanged) onChange();
      const longAway = stores.awayFor(AWAY_GRACE_MS);
      for (const id of longAway) stores.setState(id, 'out');
      if (hasChanged || longAway.length > 0) await core.cluster.setDevices(stores.devices());
    } catch (error) {
      if (errorCode(error) === 'HF_INTERRUPTED') return;
      env.log.warn('looking after the stores failed', { error });
    }
  }
}

/** Repair as a user asks for it: stores that are away are written off now. */
export function repairWithWriteOff({ core, stores }: { core: Core; stores: StoreSet }): Repair {
  const { repair } = core;
  return {
    ...repair,
    async health(run) {
      await stores.refresh();
      return await repair.health(run);
    },
    async repair(run) {
      await stores.refresh();
      for (const id of stores.awayFor(0)) stores.setState(id, 'out');
      await core.cluster.setDevices(stores.devices());
      return await repair.repair(run);
    },
  };
}
