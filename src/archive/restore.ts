/**
 * The file, from whatever there is: a replica, or else its shares. A replica that is not what was
 * split is passed over, but for one in the master place that was changed since; the output is whole
 * or not there, and overwrites nothing.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode, errorMessage, HoldfastError, MiB, throwIfAborted } from '../base/index.ts';
import { type CombineResult, InputFile, OutputFile } from '../shares/index.ts';
import { type FileFact, lookAt } from './file-fact.ts';
import { assertOnline, assertStillThere } from './stores.ts';
import { type Entry, isFile, replicasOf, type SharesState, sharesState } from './tree.ts';
import type { StoreFact } from './tree.ts';
import {
  badShares,
  combineTo,
  digestOf,
  isWhatWasSplit,
  type Outcome,
  outcome,
  withoutShares,
  type Work,
} from './work.ts';

const COPY_BYTES = 1 * MiB;

/** To where the first master store has it. @throws HF_EXISTS. */
export async function recoverEntry(work: Work, entry: Entry): Promise<Outcome | undefined> {
  if (!isFile(entry)) return undefined;
  const [store] = assertOnline(work.view.masters.slice(0, 1), 'it is the master place');
  const target = path.join(store!.root, entry.path);
  const there = await lookAt(target);
  if (there) {
    const detail = 'it is there; recover overwrites nothing';
    return outcome(work, entry.path, { result: 'exists', detail, isFault: true });
  }
  await assertStillThere(store!);
  if (work.isDryRun) return outcome(work, entry.path, { result: 'recovered' });
  const restored = await restoreTo(work, entry, target);
  await forgetCommit(work, entry);
  return outcome(work, entry.path, { result: 'recovered', ...restored });
}

/** Elsewhere: to a path that is free. */
export async function extractEntry(
  work: Work,
  entry: Entry,
  target: string,
): Promise<Outcome | undefined> {
  if (!isFile(entry)) return undefined;
  if (await lookAt(target)) throw new HoldfastError('HF_EXISTS', `${target} exists`);
  const restored = work.isDryRun ? {} : await restoreTo(work, entry, target);
  return outcome(work, entry.path, { result: 'extracted', ...restored });
}

/** @returns from what, and whether that is in doubt. @throws HF_TOO_FEW_SHARDS. */
export async function restoreTo(
  work: Work,
  entry: Entry,
  target: string,
): Promise<Pick<Outcome, 'detail' | 'isFault'>> {
  await work.disk.makeFolder(path.dirname(target));
  const state = await sharesState(work, entry);
  const reasons: string[] = [];
  for (const replica of replicasOf(entry)) {
    if (replica.fact.path === target) continue;
    try {
      const known = { entry, state, replica };
      return { detail: await copyReplica(work, known, target), isFault: false };
    } catch (error) {
      if ((error as { code?: unknown }).code === 'HF_INTERRUPTED') throw error;
      reasons.push(errorMessage(error));
    }
  }
  return await fromShares(work, { entry, state, reasons }, target);
}

interface KnownReplica {
  readonly entry: Entry;
  readonly state: SharesState;
  readonly replica: StoreFact & { readonly fact: FileFact };
}

/** @throws HF_CORRUPT when it is not what was split, and not its owner's newer one either. */
async function replicaDetail(
  work: Work,
  { entry, state, replica }: KnownReplica,
  digest: string,
): Promise<string> {
  const { store, fact } = replica;
  const { view, catalogue } = work;
  if ((await isWhatWasSplit(work, { name: entry.path, state, digest })) !== false) {
    return store.name;
  }
  // In the master place a later time says that somebody wanted it so; a bad disk sets no times.
  const record = catalogue.file(view.scheme.name, entry.path);
  const isNewer = record !== undefined && BigInt(fact.mtimeNs) > BigInt(record.mtimeNs);
  if (isNewer && store === view.masters[0]) return `${store.name}, changed since it was split`;
  throw new HoldfastError('HF_CORRUPT', `${fact.path} is not what was split`);
}

async function fromShares(
  work: Work,
  known: { entry: Entry; state: SharesState; reasons: readonly string[] },
  target: string,
): Promise<Pick<Outcome, 'detail' | 'isFault'>> {
  const { entry, state, reasons } = known;
  const { view, catalogue } = work;
  const record = catalogue.file(view.scheme.name, entry.path);
  const have = state.good.length;
  if (have < view.scheme.quorum) {
    const all = [`have ${have}, need ${view.scheme.quorum}`, ...reasons];
    const bad = state.bad.map(({ store, reason }) => `${store.name}: ${reason}`);
    throw new HoldfastError('HF_TOO_FEW_SHARDS', [...all, ...bad].join('; '));
  }
  const { isVerified, bad } = await combineGood(work, known, target);
  const isSplitOne = record && (await digestOf(target, work)) === record.digest;
  if (record && !isSplitOne && !isVerified) {
    await fs.rm(target);
    throw new HoldfastError('HF_CORRUPT', 'the shares restore something else than was split');
  }
  const other = record && !isSplitOne ? ', of other content than was split last' : '';
  const doubt = isVerified || isSplitOne ? other : ', unverified';
  const without = [...reasons, ...bad.map(({ path: file, reason }) => `${file}: ${reason}`)];
  return {
    detail: [`${have - bad.length} shares${doubt}`, ...without].join('; '),
    isFault: other !== '',
  };
}

/** Of plain shares that disagree, those that the catalogue knows. */
async function combineGood(
  work: Work,
  { entry, state }: { entry: Entry; state: SharesState },
  target: string,
): Promise<CombineResult> {
  try {
    return await combineTo(work, state, target);
  } catch (error) {
    if (errorCode(error) !== 'HF_CORRUPT') throw error;
    const numbers = await badShares(work, { name: entry.path, state });
    const rest = withoutShares(state, numbers);
    if (numbers.length === 0 || rest.good.length < work.view.scheme.quorum) throw error;
    const combined = await combineTo(work, rest, target);
    const reason = 'it is not what the catalogue has';
    const left = state.good.filter(({ number }) => numbers.includes(number));
    return { ...combined, bad: left.map(({ fact }) => ({ path: fact.path, reason })) };
  }
}

/** What was read is named only when it is right. @returns as {@link replicaDetail}. */
async function copyReplica(work: Work, known: KnownReplica, target: string): Promise<string> {
  const { signal, progress } = work;
  await using source = await InputFile.open(known.replica.fact.path);
  await using output = await OutputFile.create(target);
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.min(COPY_BYTES, source.size));
  for (let offset = 0; offset < source.size; offset += COPY_BYTES) {
    throwIfAborted(signal);
    const piece = buffer.subarray(0, Math.min(COPY_BYTES, source.size - offset));
    await source.read(piece, offset);
    hash.update(piece);
    await output.write(piece, offset);
    progress?.({ done: offset + piece.length, total: source.size });
  }
  await source.assertUnchanged();
  const detail = await replicaDetail(work, known, hash.digest('hex'));
  await output.commit();
  return detail;
}

/** There is a replica again, and what goes for others goes for it. */
async function forgetCommit({ catalogue, view }: Work, { path: name }: Entry): Promise<void> {
  const record = catalogue.file(view.scheme.name, name);
  if (record?.isCommitted) {
    await catalogue.putFile(view.scheme.name, name, { ...record, isCommitted: false });
  }
}
