/**
 * How the shares of a file stand against the file. Marks:
 *
 *     ==  they are right    !=  they are of other content    !<  of another length
 *     !#  fewer than restore it    --  there are none    !E  bad, or they cannot be read
 *
 * `cmp` restores the file and compares; `verify` checks every byte of each share; `check` reads
 * headers and lengths only, and says it with the marks of `scan`.
 */
import { errorMessage } from '../base/index.ts';
import { verifyShares } from '../shares/index.ts';
import { type Entry, replicasOf, type SharesState, sharesState } from './tree.ts';
import { combinedOf, digestOf, type Outcome, outcome, type Work } from './work.ts';

export type CompareMark = '==' | '!=' | '!<' | '!#' | '--' | '!E';

interface Comparison {
  readonly mark: CompareMark;
  readonly detail?: string | undefined;
}

export async function compareEntry(work: Work, entry: Entry): Promise<Outcome> {
  return said(work, entry, await marked(() => compare(work, entry)));
}

export async function verifyEntry(work: Work, entry: Entry): Promise<Outcome> {
  return said(work, entry, await marked(() => verify(work, entry)));
}

export async function checkEntry(work: Work, entry: Entry): Promise<Outcome> {
  const state = await sharesState(work.view, entry);
  const detail = [countsOf(work, state), ...faultsOf(state)].join('; ');
  return outcome(work, entry.path, { result: state.mark, detail, isFault: state.mark !== '*' });
}

function said(work: Work, entry: Entry, { mark, detail }: Comparison): Outcome {
  return outcome(work, entry.path, { result: mark, detail, isFault: mark !== '==' });
}

/** What shares are wrong is told, not thrown; an interruption is. */
async function marked(compared: () => Promise<Comparison>): Promise<Comparison> {
  try {
    return await compared();
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === 'HF_INTERRUPTED' || code === 'HF_WRONG_KEY') throw error;
    return { mark: code === 'HF_TOO_FEW_SHARDS' ? '!#' : '!E', detail: errorMessage(error) };
  }
}

async function compare(work: Work, entry: Entry): Promise<Comparison> {
  const replica = replicasOf(entry)[0]?.fact;
  const record = work.catalogue.file(work.view.scheme.name, entry.path);
  const early = beforeReading(work, entry, await sharesState(work.view, entry));
  if ('mark' in early) return early;
  const { state } = early;
  const { digest, isVerified, faults } = await combinedOf(work, state);
  const wanted = replica ? await digestOf(replica.path, work) : record?.digest;
  if (wanted === undefined) {
    if (!isVerified) return { mark: '!E', detail: 'there is no replica to compare with' };
  } else if (wanted !== digest) return { mark: '!=', detail: countsOf(work, state) };
  return conclusion(work, state, faults);
}

async function verify(work: Work, entry: Entry): Promise<Comparison> {
  const early = beforeReading(work, entry, await sharesState(work.view, entry));
  if ('mark' in early) return early;
  const { state } = early;
  const { catalogue, view, shareKey, signal } = work;
  const record = catalogue.file(view.scheme.name, entry.path);
  const paths = state.good.map(({ fact }) => fact.path);
  const result = await verifyShares(paths, {
    shareKey: view.scheme.isSealed ? shareKey : undefined,
    signal,
  });
  const faults = [...result.bad, ...result.repeated].map(
    ({ path: file, reason }) => `${file}: ${reason}`,
  );
  const isVouchedFor = result.chunks.every(({ isVerified }) => isVerified);
  if (!isVouchedFor && faults.length === 0) {
    if (!record?.shares.length) {
      return {
        mark: '!E',
        detail: 'nothing vouches for plain shares that are no more than needed',
      };
    }
    for (const { number, fact } of state.good) {
      if ((await digestOf(fact.path, work)) === record.shares[number]?.digest) continue;
      faults.push(`${fact.path}: it is not what the catalogue has`);
    }
  }
  if (faults.length > 0 && !result.isRestorable) return { mark: '!#', detail: faults.join('; ') };
  return conclusion(work, state, faults);
}

function beforeReading(
  work: Work,
  entry: Entry,
  state: SharesState,
): Comparison | { readonly state: SharesState } {
  const { quorum } = work.view.scheme;
  if (state.good.length >= quorum) return { state };
  const size = replicasOf(entry)[0]?.fact.size;
  const others = state.bad.filter(({ isOther }) => isOther);
  if (size !== undefined && state.good.length === 0 && others.length >= quorum) {
    return { mark: '!<', detail: `the replica has ${size} bytes, the shares say otherwise` };
  }
  if (state.good.length + state.bad.length === 0) return { mark: '--' };
  return { mark: '!#', detail: [countsOf(work, state), ...faultsOf(state)].join('; ') };
}

function conclusion(work: Work, state: SharesState, faults: readonly string[]): Comparison {
  const all = [...faults, ...faultsOf(state)];
  if (all.length > 0) return { mark: '!E', detail: all.join('; ') };
  return { mark: '==', detail: countsOf(work, state) };
}

function countsOf({ view }: Work, { good, offline }: SharesState): string {
  const away = offline.length > 0 ? `, ${offline.length} offline` : '';
  return `${good.length} of ${view.scheme.shareStores.length} shares${away}`;
}

function faultsOf({ bad }: SharesState): string[] {
  return bad.map(({ store, reason }) => `${store.scheme}/${store.name}: ${reason}`);
}
