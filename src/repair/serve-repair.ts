/**
 * Answers other nodes that ask for scrub, health, repair or collection, or let go of what they have
 * removed: this node is the steward and does the work. A caller that goes away ends its run,
 * of which each node may have a few; a release or an undone write goes on to its end.
 */
import type { Duplex } from 'node:stream';
import type * as v from 'valibot';
import { errorCode, HoldfastError, LIMITS, type NodeId, UnderWay } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type { CallContext, Network } from '../net/index.ts';
import type { Progress, Repair, RunOptions } from './repair.ts';
import {
  encodeNews,
  methodName,
  NEWS_EVERY_MS,
  REPAIR_ARGS,
  type RepairMethod,
} from './repair-wire.ts';

export interface ServeRepairOptions {
  readonly clock: Clock;
  /** Whether a node may ask; of what names a volume, whether it may change that. */
  readonly mayAsk: (from: NodeId, volume?: string) => boolean;
}

type Arg<Method extends RepairMethod> = v.InferOutput<(typeof REPAIR_ARGS)[Method]>;

/** What each method does, given a repair; `run` is its caller's signal and ear. */
const WORK: {
  readonly [Method in RepairMethod]: (
    repair: Repair,
    arg: Arg<Method>,
    run: RunOptions,
  ) => Promise<unknown>;
} = {
  scrub: (repair, _, run) => repair.scrub(run),
  health: (repair, _, run) => repair.health(run),
  status: (repair) => repair.status(),
  repair: (repair, arg, run) => repair.repair({ ...arg, ...run }),
  collect: (repair, arg, run) => repair.collect({ ...arg, ...run }),
  release: (repair, { volume, inode }) => repair.release(volume, { inode }),
  releaseLoose: (repair, { volume, inode }) => repair.releaseLoose(volume, inode),
  abandon: (repair, { volume, inode, stripes }) => repair.abandon(volume, inode, stripes),
};

/** The last three go on without their caller. */
const NO_RUNS: readonly RepairMethod[] = ['status', 'release', 'releaseLoose', 'abandon'];

export interface ServedRepair {
  /** Ends the runs that others have asked for, and waits for them. */
  endRuns(): Promise<void>;
}

/** @param repair `undefined` while this node is not, or not yet, the steward. */
export function serveRepair(
  network: Pick<Network, 'handle'>,
  repair: () => Repair | undefined,
  { clock, mayAsk }: ServeRepairOptions,
): ServedRepair {
  const runs = new ServedRuns();
  function answer<Method extends RepairMethod>(method: Method): void {
    const handler = async (arg: Arg<Method>, context: CallContext): Promise<unknown> => {
      const { volume } = arg as { volume?: string };
      if (!mayAsk(context.from, volume)) {
        throw new HoldfastError('HF_DENIED', 'repair is not open to this node');
      }
      const working = repair();
      if (!working) throw new HoldfastError('HF_UNAVAILABLE', 'this node does not repair now');
      const { stream } = context;
      const work = async ({ signal }: Pick<CallContext, 'signal'>): Promise<unknown> =>
        await withNews(clock, { stream, signal }, (run) => WORK[method](working, arg, run));
      return NO_RUNS.includes(method) ? await work(context) : await runs.run(context, work);
    };
    network.handle<Arg<Method>>(methodName(method), { schema: REPAIR_ARGS[method] }, handler);
  }
  for (const method of Object.keys(REPAIR_ARGS)) answer(method as RepairMethod);
  return { endRuns: () => runs.end() };
}

/** Runs for other nodes that are under way. */
class ServedRuns {
  readonly #counts = new Map<NodeId, number>();
  readonly #underWay = new UnderWay();
  #end = new AbortController();

  /** @throws HF_BUSY when the node has its share already. */
  async run<Result>(
    { from, signal }: Pick<CallContext, 'from' | 'signal'>,
    work: (run: Pick<CallContext, 'signal'>) => Promise<Result>,
  ): Promise<Result> {
    const count = this.#counts.get(from) ?? 0;
    if (count >= LIMITS.servedRunsPerPeerMax) {
      throw new HoldfastError('HF_BUSY', `${count} runs of repair for this node are under way`);
    }
    this.#counts.set(from, count + 1);
    try {
      const until = AbortSignal.any([signal, this.#end.signal]);
      return await this.#underWay.run(() => work({ signal: until }));
    } finally {
      const left = this.#counts.get(from)! - 1;
      if (left > 0) this.#counts.set(from, left);
      else this.#counts.delete(from);
    }
  }

  async end(): Promise<void> {
    this.#end.abort();
    this.#end = new AbortController();
    await this.#underWay.settled();
  }
}

/** Tells the caller of the progress, so that silence means that this node is gone. */
async function withNews<Result>(
  clock: Clock,
  { signal, stream }: Pick<CallContext, 'signal' | 'stream'>,
  work: (run: RunOptions) => Promise<Result>,
): Promise<Result> {
  if (!stream) throw new HoldfastError('HF_BAD_ARGUMENT', 'this is asked for with a stream');
  stream.resume(); // the caller has nothing to say
  let latest: Progress = { doneCount: 0, totalCount: 0, bytes: 0 };
  const done = new AbortController();
  const until = AbortSignal.any([signal, done.signal]);
  const telling = tell(stream, () => latest, { clock, signal: until });
  try {
    const onProgress = (progress: Progress): void => void (latest = progress);
    return await work({ signal, onProgress });
  } finally {
    done.abort();
    await telling;
    await send(stream, latest);
  }
}

async function tell(
  stream: Duplex,
  latest: () => Progress,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<void> {
  for await (const _ of clock.every(NEWS_EVERY_MS, { signal })) await send(stream, latest());
}

/** At the pace of the reader. One that is gone is told nothing; its signal says so as well. */
async function send(stream: Duplex, progress: Progress): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    if (stream.destroyed || stream.writableEnded) return resolve();
    stream.write(encodeNews(progress), (error) => {
      const isBug = error && errorCode(error) === undefined && !stream.destroyed;
      if (isBug) reject(error);
      else resolve();
    });
  });
}
