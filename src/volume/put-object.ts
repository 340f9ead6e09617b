/**
 * One put, from an inode number to the answer. Until the commit nothing of it can be seen; when it
 * fails, what it had named is let go at once, and what a crash leaves the collector finds.
 */
import { errorCode, hexId, HoldfastError, type ObjectId, schemeNumber } from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { contentAddress, type VolumeKeys } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type {
  Inode,
  InodeRecord,
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
import { type KeyPath, parseKey } from './keys.ts';
import type { PutOptions, PutReport } from './object-store.ts';
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
}

export async function putObject(
  context: PutContext,
  inode: Inode,
  put: { content: AsyncIterable<Uint8Array>; options: PutOptions },
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
    const commit = commitOf(context, inode, written, options);
    const record = await commitAt(context, path, { ...commit, schemeNumber: schemeNumber(scheme) });
    const confirmed = context.references.confirm(holder, writer.named);
    context.background.start('confirming references', confirmed);
    const info = await context.tree.info(record, options.key);
    const { knownStripes, degradedTo } = written;
    return { info, knownStripes, stripeCount: writer.named.length, degradedTo };
  } catch (error) {
    // Whether a commit of unknown outcome took effect is the collector's to find out.
    if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') await abandon(context, inode, writer);
    throw error;
  }
}

function commitOf(
  { env, tree }: PutContext,
  inode: Inode,
  written: WrittenContent,
  { id, fileName = '', mediaType = '' }: PutOptions,
): Omit<ObjectCommit, 'schemeNumber' | 'entry'> {
  const address = contentAddress(written.contentDigests, written.sizeBytes);
  return {
    inode,
    objectId: id ?? hexId<ObjectId>(env.random.bytes(16)),
    sizeBytes: written.sizeBytes,
    attributes: tree.sealedAttributes(inode, { fileName, mediaType, address }),
    addressKey: tree.addressKey(address),
    extents: written.extents,
    mayReplace: true,
  };
}

/** Commits under the key; makes its directories, again when they vanish in between. */
async function commitAt(
  context: PutContext,
  path: KeyPath | undefined,
  commit: Omit<ObjectCommit, 'entry'>,
): Promise<InodeRecord> {
  const { namespace, tree } = context;
  for (let tries = 1; ; tries++) {
    const directory = path && (await tree.makeDirectories(path.directories));
    const entry = directory && {
      directory: directory.inode,
      name: tree.sealedName(directory, path.name),
    };
    try {
      const releases = await namespace.commitObject({ ...commit, entry });
      releaseAfterwards(context, releases);
      break;
    } catch (error) {
      const hasVanished = path !== undefined && errorCode(error) === 'HF_NOT_FOUND';
      if (!hasVanished || tries === COMMIT_TRIES) throw error;
    }
  }
  const record = await namespace.record(commit.inode);
  if (!record) throw new HoldfastError('HF_NOT_FOUND', `${commit.objectId} was removed meanwhile`);
  return record;
}

function releaseAfterwards(
  { repair, volume, background }: PutContext,
  releases: readonly Release[],
): void {
  for (const release of releases) {
    background.start('freeing what was replaced', repair.release(volume.id, release));
  }
}

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
