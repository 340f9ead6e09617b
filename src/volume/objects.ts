/** The object store of one volume: puts the parts of this module together. */
import {
  errorCode,
  hexId,
  HoldfastError,
  isSamePolicy,
  mapBounded,
  type ObjectId,
  type Policy,
  policyOfNumbers,
  schemeOfNumber,
  throwIfAborted,
} from '../base/index.ts';
import type { VolumeKeys } from '../crypto/index.ts';
import type { InodeRecord, Release, Session, Tree, VolumeRecord } from '../meta/index.ts';
import { AbandonedPuts } from './abandoned-puts.ts';
import { Background } from './background.ts';
import type { Content } from './content-source.ts';
import { findContent, findNamed } from './find-object.ts';
import { InodeSeals } from './inode-seals.ts';
import { InodeSource } from './inode-source.ts';
import { type KeyPath, parseKey } from './keys.ts';
import { listFiles, type Names } from './list.ts';
import { addMended, mendObject, NOTHING_MENDED } from './mend.ts';
import type {
  ListedFile,
  ListPage,
  MendReport,
  ObjectContent,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  PutReport,
  ReencodeReport,
  RunOptions,
  StripePlaces,
} from './object-store.ts';
import { ensureFits, type PutContext, putObject, reencodeObject } from './put-object.ts';
import { extentsFrom, readContent, type ReadRange } from './read-content.ts';
import { resealedXattrs } from './resealed-xattrs.ts';
import { SealedTree } from './sealed-tree.ts';
import type { StaleReads } from './stale-reads.ts';
import { StripeKeys } from './stripe-keys.ts';

/** Objects that are re-encoded or mended at once; each has several stripes in memory. */
const OBJECTS_AT_ONCE = 2;

/** Tries of a get whose object is replaced as it is opened. */
const GET_TRIES = 8;

export interface ObjectsOptions extends Pick<
  PutContext,
  'env' | 'namespace' | 'references' | 'stripes' | 'cluster' | 'repair' | 'onDegraded'
> {
  readonly tree: Tree;
  /** As it is now: it may be opened anew. What was begun keeps the one that it was begun with. */
  readonly session: () => Session;
  /** The volume as it is now: its scheme may change. */
  readonly volume: () => VolumeRecord;
  readonly keys: VolumeKeys;
  /** How objects are read while nobody answers for the newest names; not at all when left out. */
  readonly staleReads?: StaleReads | undefined;
}

export function openObjects(options: ObjectsOptions): ObjectStore {
  return new Objects(options);
}

class Objects implements ObjectStore {
  readonly #options: ObjectsOptions;
  readonly #tree: SealedTree;
  readonly #strict: Names;
  /** For what is handed out and nothing is decided by: they may be old. */
  readonly #readable: Names;
  readonly #stripeKeys: StripeKeys;
  readonly #seals: InodeSeals;
  readonly #background: Background;
  readonly #abandoned: AbandonedPuts;
  readonly #inodes: InodeSource;

  constructor(options: ObjectsOptions) {
    const { env, keys, namespace, repair } = options;
    const volume = options.volume().id;
    this.#options = options;
    this.#tree = new SealedTree({ env, volume, keys, namespace });
    this.#strict = { namespace, tree: this.#tree, inodes: options.tree };
    const old = options.staleReads?.namespace(namespace);
    this.#readable = old
      ? {
          namespace: old,
          tree: new SealedTree({ env, volume, keys, namespace: old }),
          inodes: options.staleReads?.tree(options.tree) ?? options.tree,
        }
      : this.#strict;
    this.#inodes = new InodeSource({ env, namespace, tree: this.#tree });
    this.#stripeKeys = new StripeKeys({ env, volume, keys });
    this.#seals = new InodeSeals({ env, volume, keys });
    this.#background = new Background(env.log);
    this.#abandoned = new AbandonedPuts({ env, volume, repair });
  }

  async create(): Promise<ObjectInfo> {
    const { info } = await this.put(noContent());
    return info;
  }

  async put(content: Content, options: PutOptions = {}): Promise<PutReport> {
    const key = options.key ?? (await this.#keyOf(options.id));
    const path = key === undefined ? undefined : parseKey(key);
    const id = options.id ?? this.#newId(path);
    const inode = await this.#inodes.takeFor(path, id);
    return await putObject(this.#putContext(), inode, { content, options, id, path });
  }

  #newId(path: KeyPath | undefined): ObjectId {
    if (!path) return this.#inodes.newId();
    return hexId<ObjectId>(this.#options.env.random.bytes(16));
  }

  #putContext(): PutContext {
    return {
      ...this.#options,
      volume: this.#options.volume(),
      session: this.#options.session(),
      tree: this.#tree,
      inodes: this.#inodes,
      resealedXattrs: (successor) =>
        resealedXattrs({ inodes: this.#options.tree, seals: this.#seals }, successor),
      stripeKeys: this.#stripeKeys,
      background: this.#background,
      abandoned: this.#abandoned,
    };
  }

  /** The key that an object keeps when it is filled. @throws HF_NOT_FOUND. */
  async #keyOf(id: ObjectId | undefined): Promise<string | undefined> {
    if (id === undefined) return undefined;
    const record = await this.#options.namespace.object(id);
    if (record) return await this.#tree.keyOf(record.inode);
    throw new HoldfastError('HF_NOT_FOUND', `there is no object ${id} to fill`);
  }

  async get(
    reference: string,
    options: { range?: ReadRange; signal?: AbortSignal | undefined } = {},
  ): Promise<ObjectContent> {
    for (let tries = 1; ; tries++) {
      const record = await this.#findContent(reference);
      try {
        return await this.#open(record, options);
      } catch (error) {
        // What was replaced as it was opened has a successor: a reader sees one or the other.
        const isGone = (await this.#readable.namespace.record(record.inode)) === undefined;
        if (!isGone || tries === GET_TRIES) throw error;
      }
    }
  }

  /** The object once its first bytes are there. */
  async #open(
    record: InodeRecord,
    options: { range?: ReadRange; signal?: AbortSignal | undefined },
  ): Promise<ObjectContent> {
    const info = await this.#readable.tree.info(record);
    const range = options.range ?? { offset: 0, lengthBytes: record.sizeBytes };
    if (range.offset + range.lengthBytes > record.sizeBytes) {
      throw new HoldfastError(
        'HF_BAD_ARGUMENT',
        `the range ends after the object's ${record.sizeBytes} bytes`,
      );
    }
    const bytes = this.#read(record, info, { range, signal: options.signal });
    return { info, bytes: resumed(await bytes.next(), bytes) };
  }

  get #readContext() {
    return { ...this.#options, stripeKeys: this.#stripeKeys, seals: this.#seals };
  }

  /** Goes on in the successor of an object that is re-encoded while it is read. */
  async *#read(
    record: InodeRecord,
    info: ObjectInfo,
    { range, signal }: { range: ReadRange; signal: AbortSignal | undefined },
  ): AsyncGenerator<Uint8Array, void> {
    const end = range.offset + range.lengthBytes;
    let offset = range.offset;
    for (let from = record; ;) {
      const left = { offset, lengthBytes: end - offset };
      try {
        const { namespace } = this.#readable;
        const context = { ...this.#readContext, namespace };
        for await (const bytes of readContent(context, from, { range: left, signal })) {
          offset += bytes.length;
          yield bytes;
        }
        return;
      } catch (error) {
        const successor = await this.#successorOf(from, info);
        if (!successor) throw error;
        from = successor;
      }
    }
  }

  /** What has the place of an inode that is gone, if it has the same content. */
  async #successorOf(
    { inode, objectId }: InodeRecord,
    { address }: ObjectInfo,
  ): Promise<InodeRecord | undefined> {
    const { namespace, tree } = this.#readable;
    const record = objectId && (await namespace.object(objectId));
    if (!record || record.inode === inode || record.isRewritten) return undefined;
    return (await tree.info(record)).address === address ? record : undefined;
  }

  async query(reference: string): Promise<ObjectInfo> {
    const { tree } = this.#readable;
    return await tree.info(await this.#findContent(reference));
  }

  async *list(prefix = '', page: ListPage = {}): AsyncIterable<ListedFile> {
    yield* listFiles(this.#readable, { ...page, prefix, volume: this.#options.volume() });
  }

  async remove(reference: string): Promise<ObjectInfo> {
    const { namespace, repair, volume } = this.#options;
    for (;;) {
      const found = await findNamed(this.#strict, reference, volume());
      const info = await this.#tree.info(found);
      const { objectId, inode } = found;
      let release: Release;
      try {
        release = await (objectId ? namespace.removeObject(objectId) : namespace.removeFile(inode));
      } catch (error) {
        // It was replaced or removed meanwhile: the reference may lead to another one by now.
        if (errorCode(error) !== 'HF_NOT_FOUND') throw error;
        continue;
      }
      // It is gone: whether its space is free at once, or when the collector comes by, is no
      // answer.
      await this.#background.run('a release', repair.release(volume().id, release));
      return info;
    }
  }

  async reencode(
    reference: string,
    policy: Policy,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<ObjectInfo> {
    await ensureFits(this.#options.cluster, policy);
    for (;;) {
      const record = await this.#find(reference);
      if (record.isRewritten) {
        const message = 'what was written in place stays as it is stored: put it again';
        throw new HoldfastError('HF_UNSUPPORTED', message);
      }
      if ((await this.#reencodeOne(record, policy, signal)) !== 'gone') {
        return await this.query(record.objectId as ObjectId);
      }
    }
  }

  async #reencodeOne(
    record: InodeRecord,
    policy: Policy,
    signal: AbortSignal | undefined,
  ): Promise<'done' | 'kept' | 'gone'> {
    const info = await this.#tree.info(record);
    if (isSamePolicy(info.policy, policy) || record.isRewritten) return 'kept';
    const range = { offset: 0, lengthBytes: record.sizeBytes };
    const content = readContent(this.#readContext, record, { range, signal });
    const again = { record, info, content, policy, signal };
    try {
      const inode = await this.#inodes.take({ inode: record.inode });
      await reencodeObject(this.#putContext(), inode, again);
      return 'done';
    } catch (error) {
      if ((await this.#options.namespace.record(record.inode)) === undefined) return 'gone';
      throw error;
    }
  }

  async reencodeAll(
    policy: Policy,
    { signal, onProgress }: RunOptions = {},
  ): Promise<ReencodeReport> {
    const { cluster, namespace, env } = this.#options;
    await ensureFits(cluster, policy);
    const report = { reencoded: 0, kept: 0, failed: 0 };
    const { objectCount } = await namespace.usage();
    let doneCount = 0;
    let bytes = 0;
    await this.#eachObject(signal, async (record) => {
      try {
        const outcome = await this.#reencodeOne(record, policy, signal);
        if (outcome === 'done') report.reencoded += 1;
        else report.kept += 1;
      } catch (error) {
        throwIfAborted(signal);
        if (errorCode(error) === undefined) throw error;
        report.failed += 1;
        env.log.warn('an object could not be re-encoded', { object: record.objectId, error });
      }
      bytes += record.sizeBytes;
      doneCount += 1;
      onProgress?.({ doneCount, totalCount: Math.max(objectCount, doneCount), bytes });
    });
    return report;
  }

  async mend(reference: string, { signal }: Pick<RunOptions, 'signal'> = {}): Promise<MendReport> {
    return await mendObject(this.#readContext, await this.#find(reference), signal);
  }

  async mendAll({ signal }: Pick<RunOptions, 'signal'> = {}): Promise<MendReport> {
    let report = NOTHING_MENDED;
    await this.#eachObject(signal, async (record) => {
      if (record.schemeNumbers.length === 1) return;
      const ofObject = await mendObject(this.#readContext, record, signal);
      // Only now: another object's may have been added meanwhile.
      report = addMended(report, ofObject);
    });
    return report;
  }

  /** All objects there are, with or without a key, some of them at once. */
  async #eachObject(
    signal: AbortSignal | undefined,
    work: (record: InodeRecord) => Promise<void>,
  ): Promise<void> {
    let after: ObjectId | undefined;
    for (;;) {
      const page = await this.#options.namespace.listObjects({ after });
      await mapBounded(page, OBJECTS_AT_ONCE, async (record) => {
        throwIfAborted(signal);
        await work(record);
      });
      after = page.at(-1)?.objectId;
      if (!after) return;
    }
  }

  async *where(reference: string): AsyncIterable<StripePlaces> {
    const { stripes } = this.#options;
    const { namespace } = this.#readable;
    const { inode, schemeNumbers } = await this.#findContent(reference);
    for (const encoding of policyOfNumbers(schemeNumbers).keys()) {
      for await (const extent of extentsFrom(namespace, inode, { encoding, offset: 0 })) {
        const { offset, lengthBytes, stripe } = extent;
        const { places, spareCount } = await stripes.inspect(stripe, extent.schemeNumber);
        const scheme = schemeOfNumber(extent.schemeNumber);
        yield { encoding, offset, lengthBytes, stripe, scheme, shards: places, spareCount };
      }
    }
  }

  async #find(reference: string): Promise<InodeRecord> {
    return await findContent(this.#strict, reference, this.#options.volume());
  }

  async #findContent(reference: string): Promise<InodeRecord> {
    return await findContent(this.#readable, reference, this.#options.volume());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#background.settle();
    await this.#abandoned[Symbol.asyncDispose]();
  }
}

/** A stream whose first step was taken already. */
async function* resumed(
  first: IteratorResult<Uint8Array, void>,
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.done) return;
  try {
    yield first.value;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}

async function* noContent(): AsyncGenerator<Uint8Array> {}
