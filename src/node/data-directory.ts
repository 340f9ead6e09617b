/**
 * The data directory of a node: its keys, which stores it has, the caches of its cells, its control
 * socket. Everything but the keyring can be lost without losing a byte: the rest comes back from
 * the stores, and the keyring from the recovery kit.
 *
 *     keyring.json        secrets, 0600
 *     stores.json         paths of the stores
 *     kit-exported.json   which volumes the last exported recovery kit opens
 *     node.json           where the node listens and stands, see node-config.ts
 *     members.json        the cluster as last known: where it is found, who was removed
 *     mounts.json         what is mounted, to be mounted again
 *     metadata.json       where the metadata was seen last, and whether its log is here
 *     joining.json        the seed of a node that is about to join, 0600
 *     cells/              databases of rows, one a cell: caches of the mirrored log
 *     ring/               the etcd of this node, see ring/ring-folder.ts
 *     control.sock        control interface, 0600
 *     control.token       opens the control interface over TCP, 0600; made when it is first needed
 *     holdfast.log        what the daemon did, a line of JSON each
 *     holdfast.out        what a node in the background printed
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import { CONTROL_SOCKET, CONTROL_TOKEN, type MountView } from '../api/index.ts';
import {
  errorCode,
  errorMessage,
  fromHex,
  HoldfastError,
  Mutex,
  type NodeId,
  toHex,
} from '../base/index.ts';
import { decodeRevocations, encodeRevocations, type Revocations } from '../cluster/index.ts';
import { decodeKeyring, encodeKeyring, type Keyring, SEED_BYTES } from '../crypto/index.ts';
import { holdLock } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { type NodeConfig, StoredConfig } from './node-config.ts';

const TOKEN_BYTES = 32;

const StoreList = v.strictObject({
  version: v.literal(1),
  stores: v.array(
    v.strictObject({
      id: v.string(),
      path: v.string(),
      /** The user took it away, and did not bring it back. */
      isDetached: v.optional(v.boolean()),
    }),
  ),
});
export type StoreEntry = v.InferOutput<typeof StoreList>['stores'][number];

const KitMark = v.strictObject({ version: v.literal(1), volumes: v.array(v.string()) });

const MemberList = v.strictObject({
  version: v.literal(1),
  home: v.nullable(v.string()),
  homeGeneration: v.optional(v.number()),
  members: v.array(v.strictObject({ node: v.string(), addresses: v.array(v.string()) })),
  /** As they are in the registry. */
  revocations: v.optional(v.pipe(v.string(), v.hexadecimal())),
  hasLeft: v.optional(v.boolean()),
});

/** The cluster as a node last knew it. */
export interface KnownCluster {
  /** The node that carries the names; `undefined` when it is this one, or is not known. */
  readonly home?: NodeId | undefined;
  /** Of that one, or of this node when it is the home; none of a lower one is followed. */
  readonly homeGeneration?: number | undefined;
  readonly members: readonly { readonly node: NodeId; readonly addresses: readonly string[] }[];
  readonly revocations?: Revocations | undefined;
  /** Whether this node has left it. */
  readonly hasLeft?: boolean | undefined;
}

const StoredPlace = v.strictObject({
  version: v.literal(1),
  generation: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  engine: v.picklist(['local', 'etcd']),
  isCarrier: v.boolean(),
});

/** Where the metadata of the cluster is, as this node saw it last. */
export type MetadataPlace = Readonly<Omit<v.InferOutput<typeof StoredPlace>, 'version'>>;

const MountList = v.strictObject({
  version: v.literal(1),
  mounts: v.array(
    v.strictObject({
      volume: v.string(),
      directory: v.string(),
      isReadOnly: v.boolean(),
      allowsOthers: v.boolean(),
      forbidsPrograms: v.boolean(),
      hasLocalLocks: v.optional(v.boolean(), false),
      endsWithUmount: v.boolean(),
      mountedAtMs: v.number(),
    }),
  ),
});

const NodeSeed = v.strictObject({
  version: v.literal(1),
  nodeSeed: v.pipe(v.string(), v.hexadecimal(), v.length(2 * SEED_BYTES)),
});

export class DataDirectory implements AsyncDisposable {
  readonly path: string;
  readonly #lock: AsyncDisposable | undefined;
  readonly #writing = new Mutex();

  private constructor(dataPath: string, lock?: AsyncDisposable) {
    this.path = dataPath;
    this.#lock = lock;
  }

  /**
   * Makes the directory where there is none, and holds it for this process.
   * @throws HF_BUSY when another node runs on it; HF_NOT_DIRECTORY, HF_IO.
   */
  static async open(dataPath: string): Promise<DataDirectory> {
    const full = path.resolve(dataPath);
    await fs.mkdir(path.join(full, 'cells'), { recursive: true, mode: 0o700 }).catch((error) => {
      throw fileProblem(error, `cannot make the data directory ${full}`);
    });
    const real = await fs.realpath(full);
    const { dev, ino } = await fs.stat(real);
    const lock = await holdLock(
      `data-${dev}-${ino}`,
      `the data directory ${full}`,
      'a node runs on it',
    );
    return new DataDirectory(full, lock);
  }

  /** To be read only; a node may run on it. */
  static unlocked(dataPath: string): Pick<DataDirectory, 'readKeyring' | 'readStores'> {
    return new DataDirectory(path.resolve(dataPath));
  }

  get socketPath(): string {
    return controlSocketPath(this.path);
  }

  get logPath(): string {
    return path.join(this.path, 'holdfast.log');
  }

  /** Where the stores of a first run go. */
  get storesPath(): string {
    return path.join(this.path, 'stores');
  }

  /** Of this node's etcd. */
  get ringPath(): string {
    return path.join(this.path, 'ring');
  }

  /** Removes the database of a cell that is not carried here any more. */
  async dropCell(cell: string): Promise<void> {
    const file = this.cellPath(cell);
    for (const name of [file, `${file}-wal`, `${file}-shm`]) await fs.rm(name, { force: true });
  }

  cellPath(cell: string): string {
    return path.join(this.path, 'cells', `${cell}.sqlite`);
  }

  /** `undefined` before the first run. @throws HF_WRONG_KEY, HF_CORRUPT. */
  async readKeyring(): Promise<Keyring | undefined> {
    const text = await this.#read('keyring.json');
    if (text === undefined) return undefined;
    try {
      return decodeKeyring(text);
    } catch (error) {
      const code = errorCode(error) ?? 'HF_CORRUPT';
      const file = path.join(this.path, 'keyring.json');
      throw new HoldfastError(code, `${file}: ${errorMessage(error)}`, { cause: error });
    }
  }

  async writeKeyring(keyring: Keyring): Promise<void> {
    await this.#write('keyring.json', encodeKeyring(keyring));
  }

  /** `undefined` before a first run has got so far. */
  async readStores(): Promise<readonly StoreEntry[] | undefined> {
    return (await this.#readJson('stores.json', StoreList))?.stores;
  }

  async writeStores(stores: readonly StoreEntry[]): Promise<void> {
    await this.#writeJson('stores.json', { version: 1, stores });
  }

  /** What opens the control interface over TCP; made here when there is none yet. */
  async controlToken({ random }: Pick<Env, 'random'>): Promise<string> {
    const known = (await this.#read(CONTROL_TOKEN))?.trim();
    if (known !== undefined && known.length >= TOKEN_BYTES * 2) return known;
    const token = toHex(random.bytes(TOKEN_BYTES));
    await this.#write(CONTROL_TOKEN, `${token}\n`);
    return token;
  }

  /** Volumes that the last exported kit opens. */
  async readKitMark(): Promise<readonly string[]> {
    return (await this.#readJson('kit-exported.json', KitMark))?.volumes ?? [];
  }

  async writeKitMark(volumes: readonly string[]): Promise<void> {
    await this.#write('kit-exported.json', JSON.stringify({ version: 1, volumes }) + '\n');
  }

  /** `undefined` while nothing was said. */
  async readConfig(): Promise<NodeConfig | undefined> {
    const stored = await this.#readJson('node.json', StoredConfig);
    if (!stored) return undefined;
    const { version: _, ...config } = stored;
    return config;
  }

  async writeConfig(config: NodeConfig): Promise<void> {
    await this.#writeJson('node.json', { version: 1, ...config });
  }

  /** Nothing is known before the node has met others. */
  async readCluster(): Promise<KnownCluster> {
    const stored = await this.#readJson('members.json', MemberList);
    if (!stored) return { members: [] };
    const { home, homeGeneration, members, revocations, hasLeft } = stored;
    return {
      home: (home ?? undefined) as NodeId | undefined,
      homeGeneration,
      members: members.map(({ node, addresses }) => ({ node: node as NodeId, addresses })),
      revocations: revocations === undefined ? undefined : decodeRevocations(fromHex(revocations)),
      hasLeft,
    };
  }

  async writeCluster({ home, revocations, ...known }: KnownCluster): Promise<void> {
    const list = revocations && toHex(encodeRevocations(revocations));
    const stored = { version: 1, home: home ?? null, ...known, revocations: list };
    await this.#writeJson('members.json', stored);
  }

  /** `undefined` on a node that no release with this file has run. */
  async readPlace(): Promise<MetadataPlace | undefined> {
    const stored = await this.#readJson('metadata.json', StoredPlace);
    if (!stored) return undefined;
    const { version: _, ...place } = stored;
    return place;
  }

  async writePlace(place: MetadataPlace): Promise<void> {
    await this.#writeJson('metadata.json', { version: 1, ...place });
  }

  async readMounts(): Promise<readonly MountView[]> {
    return (await this.#readJson('mounts.json', MountList))?.mounts ?? [];
  }

  async writeMounts(mounts: readonly MountView[]): Promise<void> {
    await this.#writeJson('mounts.json', { version: 1, mounts });
  }

  /** The seed with which this node has begun to join; made here when there is none yet. */
  async joiningSeed({ random }: Pick<Env, 'random'>): Promise<Uint8Array> {
    const known = await this.#readJson('joining.json', NodeSeed);
    if (known) return fromHex(known.nodeSeed);
    const nodeSeed = random.bytes(SEED_BYTES);
    await this.#writeJson('joining.json', { version: 1, nodeSeed: toHex(nodeSeed) });
    return nodeSeed;
  }

  /** Forgets that seed: the keyring has it. */
  async hasJoined(): Promise<void> {
    await fs.rm(path.join(this.path, 'joining.json'), { force: true });
  }

  async #writeJson(name: string, value: object): Promise<void> {
    await this.#write(name, JSON.stringify(value, undefined, 2) + '\n');
  }

  async #readJson<Shape extends v.GenericSchema>(
    name: string,
    shape: Shape,
  ): Promise<v.InferOutput<Shape> | undefined> {
    const text = await this.#read(name);
    if (text === undefined) return undefined;
    try {
      return v.parse(shape, JSON.parse(text));
    } catch (error) {
      const file = path.join(this.path, name);
      throw new HoldfastError('HF_CORRUPT', `${file}: ${errorMessage(error)}`, { cause: error });
    }
  }

  async #read(name: string): Promise<string | undefined> {
    try {
      return await fs.readFile(path.join(this.path, name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw fileProblem(error, `cannot read ${path.join(this.path, name)}`);
    }
  }

  /** Replaces a file whole: a crash leaves the old one or the new one. */
  async #write(name: string, text: string): Promise<void> {
    await this.#writing.run(() => this.#replace(name, text));
  }

  async #replace(name: string, text: string): Promise<void> {
    const target = path.join(this.path, name);
    const temporary = `${target}.new`;
    try {
      await using file = await fs.open(temporary, 'w', 0o600);
      await file.writeFile(text);
      await file.sync();
      await fs.rename(temporary, target);
      await using directory = await fs.open(this.path, 'r');
      await directory.sync();
    } catch (error) {
      throw fileProblem(error, `cannot write ${target}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock?.[Symbol.asyncDispose]();
  }
}

/** Where a client finds the node of a data directory. */
export function controlSocketPath(dataPath: string): string {
  return path.join(path.resolve(dataPath), CONTROL_SOCKET);
}

function fileProblem(error: unknown, what: string): HoldfastError {
  const { code } = error as NodeJS.ErrnoException;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  const kind = isFull ? 'HF_NO_SPACE' : code === 'ENOTDIR' ? 'HF_NOT_DIRECTORY' : 'HF_IO';
  return new HoldfastError(kind, `${what}: ${errorMessage(error)}`, { cause: error });
}
