/**
 * One put, from an inode number to the answer. Until the commit nothing of it can be seen; when it
 * fails, what it had named is let go at once, and what a crash leaves the collector finds.
 */
import {
  type Address,
  batchesOf,
  errorCode,
  hexId,
  HoldfastError,
  LIMITS,
  type ObjectId,
  schemeNumber,
  type StripeId,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { contentAddress, type VolumeKeys } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type {
  Inode,
  Holder,
  Namespace,
  ObjectCommit,
  References,
  Release,
  Session,
  VolumeRecord,
} from '../meta/index.ts';
import type { Repair } from '../repair/index.ts';
import type { StripeStore } from '../stripes/index.ts';
import type { Background } from './background.ts';
import type { Content } from './content-source.ts';
import { type KeyPath, parseKey } from './keys.ts';
import type { ObjectInfo, PutOptions, PutReport } from './object-store.ts';
import type { SealedTree } from './sealed-tree.ts';
import type { StripeKeys } from './stripe-keys.ts';
import { ContentWriter, type WrittenContent } from './write-content.ts';

/** Tries of a commit whose directory vanished meanwhile with its last entry. */
const COMMIT_TRIES = 8;

export interface PutContext {
  readonly env: Env;
  readonly volume: VolumeRecord;
  readonly keys: VolumeKeys;
  readonly namespace: Namespace;
  readonly references: References;
  readonly session: Session;
  readonly stripes: StripeStore;
  readonly cluster: Pick<Cluster, 'ensureWidth'>;
  readonly repair: Pick<Repair, 'release' | 'abandon'>;
  readonly tree: SealedTree;
  readonly stripeKeys: StripeKeys;
  readonly background: Background;
  /** Told after the commit of an object that lacks shards: from now on repair sees it. */
  readonly onDegraded?: (() => void) | undefined;
}

export async function putObject(
  context: PutContext,
  inode: Inode,
  put: { content: Content; options: PutOptions },
): Promise<PutReport> {
  const { volume, cluster, keys } = context;
  const { content, options } = put;
  const path = options.key === undefined ? undefined : parseKey(options.key);
  const scheme = options.scheme ?? volume.scheme;
  // The volume's own scheme was looked at when it was set: losing stores since then makes puts
  // degraded, not wrong.
  if (options.scheme) await cluster.ensureWidth(scheme.n);
  const holder = { volume: volume.id, inode };
  const secret = volume.isDeduplicating ? keys.contentSecret : undefined;
  const writer = new ContentWriter({ ...context, holder, scheme, secret, signal: options.signal });
  try {
    const written = await writer.write(content);
    const address = contentAddress(written.contentDigests, written.sizeBytes);
    const info: ObjectInfo = {
      id: options.id ?? hexId<ObjectId>(context.env.random.bytes(16)),
      key: options.key,
      fileName: options.fileName ?? '',
      mediaType: options.mediaType ?? '',
      sizeBytes: written.sizeBytes,
      address,
      scheme,
      createdAtMs: context.env.clock.now(),
    };
    const mayReplace = await mayReplaceAt(context, path, { options, address });
    await commitAt(context, path, commitOf(context, { inode, info, written, mayReplace }));
    context.background.start('confirming references', confirm(context, holder, writer.named));
    const { knownStripes, degradedTo } = written;
    if (degradedTo !== undefined) context.onDegraded?.();
    const stripeCount = writer.named.length;
    return { info, knownStripes, stripeCount, degradedTo };
  } catch (error) {
    await abandon(context, inode, writer);
    throw error;
  }
}

async function confirm(
  { references }: PutContext,
  holder: Holder,
  stripes: readonly StripeId[],
): Promise<void> {
  for (const batch of batchesOf(stripes, LIMITS.stripesPerEntryMax)) {
    await references.confirm(holder, batch);
  }
}

function commitOf(
  { tree }: PutContext,
  put: {
    readonly inode: Inode;
    readonly info: ObjectInfo;
    readonly written: WrittenContent;
    readonly mayReplace: boolean;
  },
): Omit<ObjectCommit, 'entry'> {
  const { inode, info, written, mayReplace } = put;
  return {
    inode,
    createdAtMs: info.createdAtMs,
    objectId: info.id,
    sizeBytes: info.sizeBytes,
    schemeNumber: schemeNumber(info.scheme),
    attributes: tree.sealedAttributes(inode, info),
    addressKey: tree.addressKey(info.address),
    extents: written.extents,
    mayReplace,
  };
}

/** The same content may always take its own place; the commit decides on anything else. */
async function mayReplaceAt(
  { tree }: PutContext,
  path: KeyPath | undefined,
  { options, address }: { options: PutOptions; address: Address },
): Promise<boolean> {
  if (options.mayReplace !== false || options.id !== undefined || !path) return true;
  const standing = await tree.lookup(path);
  return standing !== undefined && (await tree.info(standing)).address === address;
}

/** Commits under the key; makes its directories, again when they vanish in between. */
async function commitAt(
  context: PutContext,
  path: KeyPath | undefined,
  commit: Omit<ObjectCommit, 'entry'>,
): Promise<void> {
  const { namespace, tree } = context;
  for (let tries = 1; ; tries++) {
    try {
      const directory = path && (await tree.makeDirectories(path.directories));
      const entry = directory && {
        directory: directory.inode,
        name: tree.sealedName(directory, path.name),
      };
      releaseAfterwards(context, await namespace.commitObject({ ...commit, entry }));
      return;
    } catch (error) {
      if (errorCode(error) === 'HF_EXISTS') throw taken(path);
      const hasVanished = path !== undefined && errorCode(error) === 'HF_NOT_FOUND';
      if (!hasVanished || tries === COMMIT_TRIES) throw error;
    }
  }
}

function taken(path: KeyPath | undefined): HoldfastError {
  const key = path ? [...path.directories, path.name].join('') : 'the object';
  return new HoldfastError(
    'HF_EXISTS',
    `"${key}" holds other content; choose another key, or replace it with --force`,
  );
}

function releaseAfterwards(
  { repair, volume, background }: PutContext,
  releases: readonly Release[],
): void {
  for (const release of releases) {
    background.start('freeing what was replaced', repair.release(volume.id, release));
  }
}

/** Also where the outcome of the commit is not known: what was committed stays. */
async function abandon(
  { repair, volume, env }: PutContext,
  inode: Inode,
  { named }: ContentWriter,
): Promise<void> {
  try {
    await repair.abandon(volume.id, inode, named);
  } catch (error) {
    // The put's own failure is what the caller must see.
    env.log.warn('a failed put left something for the collector', { error });
  }
}
