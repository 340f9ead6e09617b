/**
 * The file, from whatever there is: a replica, or else its shares. A replica that is not what the
 * catalogue has is passed over; the output is whole or not there, and overwrites nothing.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, HoldfastError, MiB, throwIfAborted } from '../base/index.ts';
import { InputFile, OutputFile } from '../shares/index.ts';
import { type FileFact, lookAt } from './file-fact.ts';
import { assertOnline, assertStillThere } from './stores.ts';
import { type Entry, isFile, replicasOf, sharesState } from './tree.ts';
import { digestOf, combineTo, type Outcome, outcome, type Work } from './work.ts';

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
  const { view, catalogue, disk } = work;
  await disk.makeFolder(path.dirname(target));
  const record = catalogue.file(view.scheme.name, entry.path);
  const reasons: string[] = [];
  for (const { store, fact } of replicasOf(entry)) {
    if (fact.path === target) continue;
    try {
      // A replica may have been changed since it was split; then it is what its owner wants.
      const isTheSplitOne = record !== undefined && record.mtimeNs === fact.mtimeNs;
      if (isTheSplitOne && (await digestOf(fact.path, work)) !== record.digest) {
        throw new HoldfastError('HF_CORRUPT', `${fact.path} is not what was split`);
      }
      await copyFile(work, fact, target);
      return { detail: store.name, isFault: false };
    } catch (error) {
      if ((error as { code?: unknown }).code === 'HF_INTERRUPTED') throw error;
      reasons.push(errorMessage(error));
    }
  }
  const state = await sharesState(view, entry, record?.size);
  const have = state.good.length;
  if (have < view.scheme.quorum) {
    const all = [`have ${have}, need ${view.scheme.quorum}`, ...reasons];
    const bad = state.bad.map(({ store, reason }) => `${store.name}: ${reason}`);
    throw new HoldfastError('HF_TOO_FEW_SHARDS', [...all, ...bad].join('; '));
  }
  const { isVerified, bad } = await combineTo(work, state, target);
  const isSplitOne = record && (await digestOf(target, work)) === record.digest;
  if (record && !isSplitOne && !isVerified) {
    await fs.rm(target);
    throw new HoldfastError('HF_CORRUPT', 'the shares restore something else than was split');
  }
  const other = record && !isSplitOne ? ', of other content than was split last' : '';
  const doubt = isVerified || isSplitOne ? other : ', unverified';
  const without = bad.map(({ path: file, reason }) => `; ${file}: ${reason}`).join('');
  return { detail: `${have} shares${doubt}${without}`, isFault: other !== '' };
}

async function copyFile({ signal, progress }: Work, fact: FileFact, target: string): Promise<void> {
  await using source = await InputFile.open(fact.path);
  await using output = await OutputFile.create(target);
  const buffer = new Uint8Array(Math.min(COPY_BYTES, source.size));
  for (let offset = 0; offset < source.size; offset += COPY_BYTES) {
    throwIfAborted(signal);
    const piece = buffer.subarray(0, Math.min(COPY_BYTES, source.size - offset));
    await source.read(piece, offset);
    await output.write(piece, offset);
    progress?.({ done: offset + piece.length, total: source.size });
  }
  await source.assertUnchanged();
  await output.commit();
}

/** There is a replica again, and what goes for others goes for it. */
async function forgetCommit({ catalogue, view }: Work, { path: name }: Entry): Promise<void> {
  const record = catalogue.file(view.scheme.name, name);
  if (record?.isCommitted) {
    await catalogue.putFile(view.scheme.name, name, { ...record, isCommitted: false });
  }
}
