/**
 * How the shares of a file stand against the file. Marks:
 *
 *     ==  they are right    !=  they are of other content    !<  of another length
 *     !#  fewer than restore it    --  there are none    !E  bad, or they cannot be read
 *
 * `cmp` restores the file and compares; `verify` checks every byte of each share; `check` reads
 * headers and lengths only, and says it with the marks of `scan`.
 */
import { errorCode, errorMessage } from '../base/index.ts';
import { verifyShares } from '../shares/index.ts';
import { type Entry, replicasOf, type SharesState, sharesState } from './tree.ts';
import {
  badShares,
  combinedOf,
  digestOf,
  isForAll,
  keyFault,
  opened,
  type Outcome,
  outcome,
  type Work,
} from './work.ts';

export type CompareMark = '==' | '!=' | '!<' | '!#' | '--' | '!E';

const REMEDY = 'split --verify makes bad shares again';

interface Comparison {
  readonly mark: CompareMark;
  readonly detail?: string | undefined;
}

export async function compareEntry(work: Work, entry: Entry): Promise<Outcome> {
  return said(work, entry, await marked(work, entry, compare));
}

export async function verifyEntry(work: Work, entry: Entry): Promise<Outcome> {
  return said(work, entry, await marked(work, entry, verify));
}

export async function checkEntry(work: Work, entry: Entry): Promise<Outcome> {
  const state = await sharesState(work, entry);
  const others = [await keyFault(work, state), lengthFault(entry, state)];
  const faults = [...faultsOf(state), ...others.filter((fault) => fault !== undefined)];
  const detail = [countsOf(work, state), ...faults].join('; ');
  const isFault = state.mark !== '*' || faults.length > 0;
  return outcome(work, entry.path, { result: state.mark, detail, isFault });
}

function said(work: Work, entry: Entry, { mark, detail }: Comparison): Outcome {
  return outcome(work, entry.path, { result: mark, detail, isFault: mark !== '==' });
}

type Compare = (work: Work, entry: Entry) => Promise<Comparison>;

/** What shares are wrong is told, not thrown; an interruption is. */
async function marked(work: Work, entry: Entry, how: Compare): Promise<Comparison> {
  try {
    return await how(work, entry);
  } catch (error) {
    if (isForAll(error)) throw error;
    const code = errorCode(error);
    if (code === 'HF_CORRUPT') {
      // Plain shares that disagree: the catalogue may know which of them are bad.
      const state = await sharesState(work, entry);
      const faults = await unlikeCatalogue(work, entry, state);
      if (faults.length > 0) return conclusion(work, state, faults);
    }
    return { mark: code === 'HF_TOO_FEW_SHARDS' ? '!#' : '!E', detail: errorMessage(error) };
  }
}

async function compare(work: Work, entry: Entry): Promise<Comparison> {
  const replica = replicasOf(entry)[0]?.fact;
  const record = work.catalogue.file(work.view.scheme.name, entry.path);
  const early = beforeReading(work, entry, await sharesState(work, entry));
  if ('mark' in early) return early;
  const { state } = early;
  const { digest, isVerified, faults } = await combinedOf(work, state);
  const wanted = replica ? await digestOf(replica.path, work) : record?.digest;
  if (wanted === undefined) {
    if (!isVerified) return { mark: '!E', detail: 'there is no replica to compare with' };
  } else if (wanted !== digest) return { mark: '!=', detail: countsOf(work, state) };
  return conclusion(work, state, faults);
}

async function unlikeCatalogue(work: Work, entry: Entry, state: SharesState): Promise<string[]> {
  const bad = await badShares(work, { name: entry.path, state });
  return state.good
    .filter(({ number }) => bad.includes(number))
    .map(({ fact }) => `${fact.path}: it is not what the catalogue has`);
}

async function verify(work: Work, entry: Entry): Promise<Comparison> {
  const early = beforeReading(work, entry, await sharesState(work, entry));
  if ('mark' in early) return early;
  const { state } = early;
  const { catalogue, view, shareKey, signal } = work;
  const record = catalogue.file(view.scheme.name, entry.path);
  const paths = state.good.map(({ fact }) => fact.path);
  const key = view.scheme.isSealed ? shareKey : undefined;
  const result = await opened(state, () => verifyShares(paths, { shareKey: key, signal }));
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
    faults.push(...(await unlikeCatalogue(work, entry, state)));
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
  const { good, bad, offline } = state;
  if (good.length + bad.length + offline.length === 0) return { mark: '--' };
  if (good.length < quorum) {
    return { mark: '!#', detail: [countsOf(work, state), ...faultsOf(state)].join('; ') };
  }
  const detail = lengthFault(entry, state);
  return detail === undefined ? { state } : { mark: '!<', detail };
}

function lengthFault(entry: Entry, { plainBytes }: SharesState): string | undefined {
  const fact = replicasOf(entry)[0]?.fact;
  if (fact === undefined || plainBytes === undefined || fact.size === plainBytes) return undefined;
  return `${fact.path} has ${fact.size} bytes, its shares are of ${plainBytes}`;
}

function conclusion(work: Work, state: SharesState, faults: readonly string[]): Comparison {
  const all = [...faults, ...faultsOf(state)];
  if (all.length > 0) {
    const good = { ...state, good: state.good.slice(faults.length) };
    return { mark: '!E', detail: [countsOf(work, good), ...all, REMEDY].join('; ') };
  }
  return { mark: '==', detail: countsOf(work, state) };
}

function countsOf({ view }: Work, { good, offline }: SharesState): string {
  const away = offline.length > 0 ? `, ${offline.length} offline` : '';
  return `${good.length} of ${view.scheme.shareStores.length} shares${away}`;
}

function faultsOf({ bad }: SharesState): string[] {
  return bad.map(({ store, reason }) => `${store.scheme}/${store.name}: ${reason}`);
}
