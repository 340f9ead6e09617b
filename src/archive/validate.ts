/**
 * Checks shares one by one against the digests of the catalogue: no other share is needed, and no
 * key. With `resplits`, the file is split again from a replica and each share is compared with what
 * it becomes, so that the catalogue is checked as well.
 *
 * The files are dealt out by a digest of their path: part m of n looks at its own only.
 */
import { createHash } from 'node:crypto';
import { assert, errorMessage, HoldfastError } from '../base/index.ts';
import type { FileRecord } from './catalogue.ts';
import { assertOnline, isOnline } from './stores.ts';
import { entryOf, replicasOf } from './tree.ts';
import {
  digestOf,
  failed,
  isForAll,
  type Outcome,
  outcome,
  scratchFolder,
  splitTo,
  unlessForAll,
} from './work.ts';
import type { Work } from './work.ts';

export interface Part {
  /** From 1. */
  readonly index: number;
  readonly count: number;
}

export interface ValidateOptions {
  readonly resplits: boolean;
  readonly part?: Part | undefined;
}

/** @param name of a file or folder; '' for all. */
export async function* validateBelow(
  work: Work,
  name: string,
  { resplits, part = { index: 1, count: 1 } }: ValidateOptions,
): AsyncGenerator<Outcome> {
  assert(part.index >= 1 && part.index <= part.count, 'the part is one of the parts');
  const { catalogue, view } = work;
  let isKnown = false;
  for (const [file, record] of catalogue.files(view.scheme.name, name)) {
    isKnown = true;
    if (!isOfPart(`${view.scheme.name}/${file}`, part)) continue;
    try {
      yield resplits ? await resplit(work, file, record) : await rehash(work, file, record.shares);
    } catch (error) {
      if (isForAll(error)) throw error;
      yield failed(work, file, errorMessage(error));
    }
  }
  if (!isKnown) yield failed(work, name, 'the catalogue knows no file there; split makes it do so');
}

function isOfPart(name: string, { index, count }: Part): boolean {
  return createHash('sha256').update(name).digest().readUInt32BE(0) % count === index - 1;
}

type Digests = readonly { readonly digest: string }[];

/** Against digests that are known. */
async function rehash(work: Work, file: string, wanted: Digests): Promise<Outcome> {
  const { view } = work;
  const { shares } = await entryOf(view, file);
  const faults: string[] = [];
  let goodCount = 0;
  let offlineCount = 0;
  for (const [number, { store, fact }] of shares.entries()) {
    const where = `${store.scheme}/${store.name}`;
    const should = wanted[number]?.digest;
    if (!isOnline(store)) offlineCount += 1;
    else if (fact?.kind !== 'file') faults.push(`${where}: it is missing`);
    else if (should === undefined) faults.push(`${where}: the catalogue does not know it`);
    else if ((await digestOf(fact.path, work).catch(unlessForAll)) !== should) {
      faults.push(`${where}: ${fact.path} is not what it was`);
    } else goodCount += 1;
  }
  const away = offlineCount > 0 ? [`${offlineCount} offline`] : [];
  const detail = [`${goodCount} of ${shares.length} shares`, ...away, ...faults].join('; ');
  if (faults.length > 0) return outcome(work, file, { result: 'bad', detail, isFault: true });
  if (offlineCount === 0) return outcome(work, file, { result: 'good', detail });
  // What was not looked at is not good; enough of it was, or not.
  const isFault = goodCount < view.scheme.quorum;
  return outcome(work, file, { result: 'offline', detail, isFault });
}

/** Against those of a split that is thrown away. */
async function resplit(work: Work, file: string, record: FileRecord): Promise<Outcome> {
  const { view } = work;
  const replicas = replicasOf(await entryOf(view, file));
  if (replicas.length === 0) {
    assertOnline(view.masters, 'there may be a replica');
    return outcome(work, file, { result: 'skipped', detail: 'it has no replica' });
  }
  const replica = await firstWhatWasSplit(work, replicas, record);
  if (!record.isSealed && !record.points) {
    const message = 'its plain shares were not made here, and cannot be made again';
    throw new HoldfastError('HF_UNSUPPORTED', message);
  }
  await using scratch = await scratchFolder(work);
  const { points } = record;
  const made = { file: replica, folders: [scratch.path], points };
  const paths = await splitTo(work, made);
  const wanted: { digest: string }[] = [];
  for (const share of paths) wanted.push({ digest: await digestOf(share, work) });
  return await rehash(work, file, wanted);
}

/**
 * Its path. @throws HF_CORRUPT when none is what was split: the shares are not to blame for that.
 */
async function firstWhatWasSplit(
  work: Work,
  replicas: ReturnType<typeof replicasOf>,
  record: FileRecord,
): Promise<string> {
  for (const { fact } of replicas) {
    if ((await digestOf(fact.path, work).catch(unlessForAll)) === record.digest) return fact.path;
  }
  const [first] = replicas;
  const { path } = first!.fact;
  const message = `${path} is not what was split; without --resplit its shares are checked`;
  throw new HoldfastError('HF_CORRUPT', message);
}
