/**
 * {@link Repair} of the steward, on another node: the same contract, progress and cancelling
 * included. A run may last for hours; a silence ends it with HF_UNAVAILABLE. What the steward threw
 * keeps its code.
 *
 * `release`, `releaseLoose` and `abandon` are asked once more when nobody answered. That is safe,
 * whether the first one was done, half done or never came: an inode number is never used again, so
 * a release names what is dead for good, the cell says what is loose each time, and removing a
 * reference that is not there is nothing; and whether a write is refused or was committed is
 * decided by the volume's cell once, whoever asks. Should both go unanswered, the steward's next
 * collection does what was left.
 */
import * as v from 'valibot';
import {
  batchesOf,
  errorCode,
  errorMessage,
  HoldfastError,
  type NodeId,
  type StripeId,
  throwIfAborted,
} from '../base/index.ts';
import type { Inode, Release } from '../meta/index.ts';
import type { Network } from '../net/index.ts';
import type { Repair, RunOptions } from './repair.ts';
import {
  methodName,
  nonsense,
  readNews,
  REPAIR_ANSWERS,
  type RepairMethod,
  SILENCE_MS,
  STRIPES_PER_REQUEST,
} from './repair-wire.ts';

export interface RemoteRepairOptions {
  readonly network: Pick<Network, 'open'>;
  /** Who repairs; `undefined` while that is not known. */
  readonly steward: () => NodeId | undefined;
  /** Why that is not known, and nobody takes it over, for people; `undefined` as a rule. */
  readonly whyNobody?: (() => string | undefined) | undefined;
  /** How a node is called in lines for people. */
  readonly tell?: ((node: NodeId) => string) | undefined;
}

type Answer<Method extends RepairMethod> = v.InferOutput<(typeof REPAIR_ANSWERS)[Method]>;

/** @returns an object of plain functions, as `openRepair` does. */
export function remoteRepair(options: RemoteRepairOptions): Repair {
  async function ask<Method extends RepairMethod>(
    method: Method,
    arg: object,
    run: RunOptions = {},
  ): Promise<Answer<Method>> {
    const answer = await exchange(options, { method, arg, run });
    const { success, output, issues } = v.safeParse(REPAIR_ANSWERS[method], answer);
    if (!success) throw nonsense(issues[0].message);
    return output as Answer<Method>;
  }
  type Twice = 'release' | 'releaseLoose' | 'abandon';
  const askTwice = async (method: Twice, arg: object): Promise<void> => {
    try {
      await ask(method, arg);
    } catch (error) {
      if (errorCode(error) !== 'HF_UNAVAILABLE') throw error;
      await ask(method, arg);
    }
  };
  return {
    scrub: (run) => ask('scrub', {}, run),
    health: (run) => ask('health', {}, run),
    status: () => ask('status', {}),
    repair: ({ isAutomatic, rateBytesPerSecond, ...run } = {}) =>
      ask('repair', { isAutomatic, rateBytesPerSecond }, run),
    collect: ({ graceMs, ...run }) => ask('collect', { graceMs }, run),
    release: (volume: string, { inode }: Release) =>
      askTwice('release', { volume, inode: String(inode) }),
    releaseLoose: (volume: string, inode: Inode) =>
      askTwice('releaseLoose', { volume, inode: String(inode) }),
    async abandon(volume: string, inode: Inode, stripes: readonly StripeId[]) {
      // Also without stripes: the write is to be refused.
      const batches = stripes.length === 0 ? [[]] : batchesOf(stripes, STRIPES_PER_REQUEST);
      for (const batch of batches) {
        await askTwice('abandon', { volume, inode: String(inode), stripes: batch });
      }
    },
  };
}

/** @returns what was answered, unchecked. */
async function exchange(
  { network, steward, whyNobody, tell }: RemoteRepairOptions,
  { method, arg, run }: { method: RepairMethod; arg: object; run: RunOptions },
): Promise<unknown> {
  const { signal, onProgress } = run;
  throwIfAborted(signal);
  const node = steward();
  if (!node) {
    const why = whyNobody?.() ?? 'its home has not been heard of; see: holdfast peers';
    throw new HoldfastError('HF_UNAVAILABLE', `it is not known here which node repairs: ${why}`);
  }
  try {
    // The deadline of a stream is a silence; see CallOptions.
    const options = { deadlineMs: SILENCE_MS, signal };
    const { stream, reply } = await network.open(node, methodName(method), arg, options);
    try {
      // Our side is not ended before all was read: until then the exchange stays alive here.
      const listening = async (): Promise<void> => {
        for await (const news of readNews(stream)) if (news.totalCount > 0) onProgress?.(news);
      };
      const [heard, answered] = await Promise.allSettled([listening(), reply]);
      // When both fail the reply says why.
      if (answered.status === 'rejected') throw answered.reason;
      if (heard.status === 'rejected') throw heard.reason;
      return answered.value;
    } finally {
      stream.destroy();
    }
  } catch (error) {
    throw translated(error, { node, called: tell?.(node) ?? node, why: whyNobody?.(), signal });
  }
}

/** What an error of the exchange means to the caller. */
function translated(
  error: unknown,
  {
    node,
    called,
    why,
    signal,
  }: {
    readonly node: NodeId;
    readonly called: string;
    /** Why no other takes it over. */
    readonly why: string | undefined;
    readonly signal: AbortSignal | undefined;
  },
): unknown {
  const code = errorCode(error);
  if (signal?.aborted && code !== undefined) {
    return new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal.reason });
  }
  // The caller did not give up, nor did it close anything: that node did, or it is away.
  const silences = ['HF_TIMEOUT', 'HF_INTERRUPTED', 'HF_CLOSED', 'HF_UNAVAILABLE'];
  if (code === undefined || !silences.includes(code)) return error;
  const reason = errorMessage(error).replaceAll(node, 'it');
  const noOther = why === undefined ? '' : `; and ${why}`;
  const text = `repair is done by node ${called}, which cannot do it now: ${reason}${noOther}`;
  return new HoldfastError('HF_UNAVAILABLE', text, { cause: error });
}
