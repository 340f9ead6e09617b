/**
 * One put, from an inode number to the answer. Until the commit nothing of it can be seen; when it
 * fails, what it had named is let go at once, and what a crash leaves the collector finds. An
 * object that is stored otherwise (re-encoded) is put in the same way, and takes its own place.
 */
import {
  type Address,
  errorCode,
  HoldfastError,
  type ObjectId,
  neededWidthOf,
  type Policy,
  policyNumbers,
  widthOf,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { contentAddress, type VolumeKeys } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type {
  Inode,
  InodeRecord,
  KeptXattrs,
  Namespace,
  ObjectCommit,
  Reencoding,
  References,
  Release,
  Session,
  VolumeRecord,
} from '../meta/index.ts';
import type { Repair } from '../repair/index.ts';
import type { StripeStore } from '../stripes/index.ts';
import type { AbandonedPuts } from './abandoned-puts.ts';
import type { Background } from './background.ts';
import type { Content } from './content-source.ts';
import type { InodeSource } from './inode-source.ts';
import { keyOf, type KeyPath } from './keys.ts';
import type { ObjectInfo, PutOptions, PutReport } from './object-store.ts';
import type { Successor } from './resealed-xattrs.ts';
import type { SealedTree } from './sealed-tree.ts';
import { confirmStripes } from './store-cut.ts';
import type { StripeKeys } from './stripe-keys.ts';
import { ContentWriter, type WriteContext, type WrittenContent } from './write-content.ts';

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
  readonly abandoned: AbandonedPuts;
  readonly tree: SealedTree;
  readonly inodes: InodeSource;
  readonly resealedXattrs: (successor: Successor) => Promise<KeptXattrs | undefined>;
  readonly stripeKeys: StripeKeys;
  readonly background: Background;
  /** Told after the commit of an object that lacks shards: from now on repair sees it. */
  readonly onDegraded?: (() => void) | undefined;
}

export async function putObject(
  context: PutContext,
  inode: Inode,
  put: {
    readonly content: Content;
    readonly options: PutOptions;
    /** Given in the options, or a new one. */
    readonly id: ObjectId;
    readonly path: KeyPath | undefined;
  },
): Promise<PutReport> {
  const { volume, cluster } = context;
  const { content, options, id, path } = put;
  const policy = options.policy ?? volume.policy;
  // The volume's own policy was looked at when it was set: losing stores since then makes puts
  // degraded, not wrong.
  if (options.policy) await ensureFits(cluster, policy);
  const write = { content, policy, signal: options.signal, mayDegrade: true };
  return await writeAndCommit(context, inode, write, async (written) => {
    const address = contentAddress(written.contentDigests, written.sizeBytes);
    const info: ObjectInfo = {
      id,
      key: path && keyOf(path),
      fileName: options.fileName ?? '',
      mediaType: options.mediaType ?? '',
      sizeBytes: written.sizeBytes,
      address,
      policy,
      createdAtMs: context.env.clock.now(),
    };
    const mayReplace = await mayReplaceAt(context, path, { options, address });
    await commitAt(context, path, commitOf(context, { inode, info, written, mayReplace }));
    const { knownStripes, stripeCount, degradedTo } = written;
    return { info, knownStripes, stripeCount, degradedTo };
  });
}

/** Makes room for the encodings. @throws HF_BAD_SCHEME when there are too few devices. */
export async function ensureFits(cluster: PutContext['cluster'], policy: Policy): Promise<void> {
  await cluster.ensureWidth(widthOf(policy), neededWidthOf(policy));
}

interface Write extends Pick<WriteContext, 'policy' | 'signal' | 'mayDegrade'> {
  readonly content: Content;
}

/** Where either fails nothing of the write stays; the commit is the last thing that can. */
async function writeAndCommit<Result>(
  context: PutContext,
  inode: Inode,
  { content, ...options }: Write,
  commit: (written: WrittenContent) => Promise<Result>,
): Promise<Result> {
  const { volume, keys, references, background, abandoned, onDegraded } = context;
  const holder = { volume: volume.id, inode };
  const secret = volume.isDeduplicating ? keys.contentSecret : undefined;
  const writer = new ContentWriter({ ...context, ...options, holder, secret });
  try {
    const written = await writer.write(content);
    const result = await commit(written);
    const confirmed = confirmStripes(references, holder, writer.named);
    background.start('confirming references', confirmed);
    if (written.degradedTo !== undefined) onDegraded?.();
    return result;
  } catch (error) {
    await abandoned.undo(inode, writer.named);
    throw error;
  }
}

/**
 * Stores an object by another policy. Until the commit the old encodings are there, from then on
 * the new ones, under the same id, key, time and content address.
 * @param again its content, as it is read from the old ones.
 * @throws HF_NOT_FOUND when the object was replaced or removed meanwhile; HF_TOO_FEW_STORES when it
 *   could not be stored in full, now that stores are away.
 */
export async function reencodeObject(
  context: PutContext,
  inode: Inode,
  again: {
    readonly record: InodeRecord;
    readonly info: ObjectInfo;
    readonly content: Content;
    readonly policy: Policy;
    readonly signal: AbortSignal | undefined;
  },
): Promise<void> {
  const { tree } = context;
  const { record, info, content, policy, signal } = again;
  // What it would replace may be whole.
  const write = { content, policy, signal, mayDegrade: false };
  await writeAndCommit(context, inode, write, async (written) => {
    const request = {
      inode,
      replaces: record.inode,
      sizeBytes: written.sizeBytes,
      schemeNumbers: policyNumbers(policy),
      attributes: tree.sealedAttributes(inode, info),
      addressKey: tree.addressKey(info.address),
      extents: written.extents,
    };
    releaseAfterwards(context, [await commitReencoding(context, request)]);
  });
}

async function commitReencoding(
  context: PutContext,
  request: Omit<Reencoding, 'xattrs'>,
): Promise<Release> {
  const successor = { from: request.replaces, to: request.inode };
  for (let tries = 1; ; tries++) {
    // Most have none, which the commit checks.
    const xattrs = tries === 1 ? undefined : await context.resealedXattrs(successor);
    try {
      return await context.namespace.reencodeObject({ ...request, xattrs });
    } catch (error) {
      if (errorCode(error) !== 'HF_BUSY' || tries === COMMIT_TRIES) throw error;
    }
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
    schemeNumbers: policyNumbers(info.policy),
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
  if (standing?.objectId === undefined || standing.isRewritten) return false;
  return (await tree.info(standing)).address === address;
}

/** Commits under the key; makes its directories, again when they vanish in between. */
async function commitAt(
  context: PutContext,
  path: KeyPath | undefined,
  commit: Omit<ObjectCommit, 'entry'>,
): Promise<void> {
  const { namespace, tree, inodes } = context;
  for (let tries = 1; ; tries++) {
    try {
      const directory = path && (await tree.makeDirectories(path.directories));
      const entry = directory && {
        directory: directory.inode,
        name: tree.sealedName(directory, path.name),
      };
      releaseAfterwards(context, await namespace.commitObject({ ...commit, entry }));
      if (entry) inodes.learn(path, entry.directory);
      return;
    } catch (error) {
      if (errorCode(error) === 'HF_EXISTS') throw taken(path);
      const hasVanished = path !== undefined && errorCode(error) === 'HF_NOT_FOUND';
      if (!hasVanished || tries === COMMIT_TRIES) throw error;
    }
  }
}

function taken(path: KeyPath | undefined): HoldfastError {
  const key = path ? keyOf(path) : 'the object';
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
