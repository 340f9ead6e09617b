/**
 * What the control server drives, in memory: real enough for tests of the server, the client and
 * the command line. Content that is read is given in pieces of one array that is used again at
 * once, so that a reader who keeps a piece too long reads rubbish.
 */
import type {
  AdminParts,
  MetadataManager,
  MountManager,
  DiskFinder,
  PeerManager,
} from '../../src/admin/index.ts';
import type {
  MetadataView,
  NamedNode,
  DeviceDetails,
  DeviceView,
  DiskView,
  NodeView,
} from '../../src/api/index.ts';
import {
  type Address,
  concatBytes,
  type DeviceId,
  HoldfastError,
  isHexId,
  type ObjectId,
  parsePolicy,
  type Policy,
  stripeId,
  type VolumeId,
} from '../../src/base/index.ts';
import type { VolumeRecord } from '../../src/meta/index.ts';
import type { HealthSummary, Repair, RepairStatus, RunOptions } from '../../src/repair/index.ts';
import type {
  Content,
  ListedFile,
  ListPage,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  RunOptions as VolumeRunOptions,
} from '../../src/volume/index.ts';

const PIECE_BYTES = 200_000;
const MADE_AT_MS = Date.UTC(2026, 0, 2, 3, 4, 5);

interface StoredObject {
  readonly info: ObjectInfo;
  readonly bytes: Uint8Array;
}

export class MemoryObjects implements ObjectStore {
  readonly stored = new Map<string, StoredObject>();
  /** Reading fails after so many bytes. */
  failReadAt = Infinity;
  /** A put fails after so many bytes. */
  failPutAt = Infinity;
  /** Puts and gets that ended otherwise than by their own end. */
  readonly broken: unknown[] = [];
  #count = 0;

  async create(): Promise<ObjectInfo> {
    return (await this.put(pieces([]))).info;
  }

  async put(content: Content, options: PutOptions = {}) {
    if (options.id && !this.stored.has(options.id)) throw this.#notFound(options.id);
    const parts: Uint8Array[] = [];
    let sizeBytes = 0;
    try {
      for await (const piece of piecesOf(content)) {
        parts.push(new Uint8Array(piece));
        sizeBytes += piece.length;
        if (sizeBytes > this.failPutAt) throw new HoldfastError('HF_NO_SPACE', 'the fake is full');
      }
    } catch (error) {
      this.broken.push(error);
      throw error;
    }
    const id = options.id ?? (String(++this.#count).padStart(32, '0') as ObjectId);
    const info: ObjectInfo = {
      id,
      key: options.key,
      fileName: options.fileName ?? '',
      mediaType: options.mediaType ?? '',
      sizeBytes,
      address: id.repeat(2) as Address,
      policy: options.policy ?? parsePolicy('rs-4+2'),
      createdAtMs: MADE_AT_MS,
    };
    this.stored.set(id, { info, bytes: concatBytes(...parts) });
    return { info, stripeCount: 1, knownStripes: 0, degradedTo: undefined };
  }

  async get(reference: string, options: Parameters<ObjectStore['get']>[1] = {}) {
    const { info, bytes } = this.#find(reference);
    const { offset, lengthBytes } = options.range ?? { offset: 0, lengthBytes: info.sizeBytes };
    if (offset + lengthBytes > info.sizeBytes) throw new HoldfastError('HF_BAD_ARGUMENT', 'range');
    return { info, bytes: this.#read(bytes.subarray(offset, offset + lengthBytes)) };
  }

  async *#read(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    const shared = new Uint8Array(PIECE_BYTES);
    let isWhole = false;
    try {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        if (at >= this.failReadAt) throw new HoldfastError('HF_TOO_FEW_SHARDS', 'have 3, need 4');
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        shared.set(piece);
        yield shared.subarray(0, piece.length);
        shared.fill(0xee);
      }
      isWhole = true;
    } finally {
      if (!isWhole) this.broken.push('get');
    }
  }

  async query(reference: string): Promise<ObjectInfo> {
    return this.#find(reference).info;
  }

  async *list(prefix = '', page: ListPage = {}): AsyncGenerator<ListedFile> {
    const { after = '', afterId = '', limit = Infinity } = page;
    const files = [...this.stored.values()].map(({ info }) => {
      return { ...info, mode: 0o644, modifiedAtMs: info.createdAtMs };
    });
    const named = files.filter(({ key }) => key?.startsWith(prefix) && key > after);
    const others = files.filter(({ id, key }) => key === undefined && id > afterId);
    yield* [...(afterId ? [] : named), ...(prefix === '' ? others : [])].slice(0, limit);
  }

  async reencode(reference: string, policy: Policy): Promise<ObjectInfo> {
    const { info, bytes } = this.#find(reference);
    const again = { ...info, policy };
    this.stored.set(info.id, { info: again, bytes });
    return again;
  }

  async reencodeAll(policy: Policy, { onProgress }: VolumeRunOptions = {}) {
    const totalCount = this.stored.size;
    for (const id of this.stored.keys()) await this.reencode(id, policy);
    onProgress?.({ doneCount: totalCount, totalCount, bytes: 0 });
    return { reencoded: totalCount, kept: 0, failed: 0 };
  }

  async mend() {
    return { mended: 0, lost: 0 };
  }

  async mendAll() {
    return await this.mend();
  }

  async remove(reference: string): Promise<ObjectInfo> {
    const { info } = this.#find(reference);
    this.stored.delete(info.id);
    return info;
  }

  async *where(reference: string) {
    const { info } = this.#find(reference);
    const devices = DEVICES.map(({ id }) => id as DeviceId);
    yield {
      offset: 0,
      lengthBytes: info.sizeBytes,
      stripe: stripeId(new Uint8Array(28)),
      encoding: 0,
      scheme: info.policy[0],
      spareCount: 1,
      shards: devices.map((id, shardIndex) => ({
        shardIndex,
        wantedAt: id,
        foundAt: shardIndex === 1 ? [] : [id],
        badAt: [],
      })),
    };
  }

  #find(reference: string): StoredObject {
    for (const object of this.stored.values()) {
      const { id, key, address } = object.info;
      if ([id, key, address].includes(reference)) return object;
    }
    throw this.#notFound(reference);
  }

  #notFound(reference: string): HoldfastError {
    const what = isHexId(reference) ? 'id' : 'key';
    return new HoldfastError('HF_NOT_FOUND', `there is no object with the ${what} ${reference}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export async function* pieces(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

const DEVICES: readonly DeviceView[] = Array.from({ length: 6 }, (_, index) => ({
  id: `${index}a`.repeat(16),
  path: `/disks/disk-${index}`,
  kind: 'directory',
  state: 'active',
  sizeBytes: 1 << 30,
  usedBytes: 1 << 20,
}));

const [BERLIN, MUNICH, ROME] = ['berlin', 'munich', 'rome'].map((name, i) => ({
  id: String(i).repeat(32),
  name,
})) as [NamedNode, NamedNode, NamedNode];

const METADATA: MetadataView = {
  note: 'all is told',
  engine: 'etcd',
  generation: 2,
  home: BERLIN,
  ring: [
    {
      ...BERLIN,
      seat: 'member',
      state: 'running',
      isLeader: true,
      version: '3.4.23',
      dbBytes: 20_480,
      reason: null,
    },
    {
      ...MUNICH,
      seat: 'member',
      state: null,
      isLeader: false,
      version: null,
      dbBytes: null,
      reason: null,
    },
  ],
  etcd: null,
  cells: [
    {
      cell: 'volume-0d',
      volume: 'default',
      slots: [0, 2048],
      members: [
        { ...BERLIN, behind: 0 },
        { ...MUNICH, behind: 3 },
        { ...ROME, behind: 0 },
      ],
      steward: ROME,
      epoch: 3,
      entry: 99,
    },
    {
      cell: 'references',
      volume: null,
      slots: [0, 4096],
      members: [{ ...MUNICH, behind: null }],
      steward: null,
      epoch: null,
      entry: null,
    },
  ],
};

export class MemoryParts implements AdminParts {
  readonly objects = new MemoryObjects();
  readonly devicesById = new Map(DEVICES.map((view) => [view.id, view]));
  readonly volumeRecords = new Map<string, VolumeRecord>();
  readonly stopAsked = Promise.withResolvers<void>();
  healthSummary: HealthSummary = {
    stripes: { ok: 3, degraded: 0, lost: 0 },
    bySpare: {},
    misplaced: 0,
    unnamedChunks: 0,
    badChunks: 0,
  };
  badChunks = 0;
  readonly limits = { minBytes: 0, maxBytes: 0, hardMaxBytes: 0 };
  /** Whether no store can be drained. */
  isFull = false;
  /** Whether scrubs wait until their caller goes. */
  isSlow = false;
  readonly identity;

  constructor(dataPath: string) {
    this.identity = {
      version: '0.0.0',
      nodeId: '0e'.repeat(16),
      name: 'node-1',
      clusterId: '0c'.repeat(16),
      dataPath,
      startedAtMs: MADE_AT_MS,
      processId: process.pid,
      startNotes: ['what a recovery did not bring back'],
    };
    const policy = parsePolicy('rs-4+2');
    this.#addVolume({ name: 'default', policy, isDeduplicating: true, retention: undefined });
  }

  #addVolume(
    about: Pick<VolumeRecord, 'name' | 'policy' | 'isDeduplicating' | 'retention'>,
  ): VolumeRecord {
    const id = '0d'.repeat(16) as VolumeId;
    const record = { ...about, id, reencodedBy: undefined, createdAtMs: MADE_AT_MS };
    this.volumeRecords.set(record.name, record);
    return record;
  }

  #volumeStatus(name: string) {
    const record = this.volumeRecords.get(name);
    if (!record) throw new HoldfastError('HF_NOT_FOUND', `there is no volume ${name}`);
    return { record, objectCount: this.objects.stored.size, contentBytes: 0 };
  }

  readonly volumes: AdminParts['volumes'] = {
    list: async () => [...this.volumeRecords.keys()].map((name) => this.#volumeStatus(name)),
    create: async ({ name, policy = parsePolicy('rs-4+2'), isDeduplicating, retention }) => {
      if (this.volumeRecords.has(name)) throw new HoldfastError('HF_EXISTS', `has ${name}`);
      this.#addVolume({ name, policy, isDeduplicating, retention });
      return this.#volumeStatus(name);
    },
    setPolicy: async (name, { policy, retention }) => {
      const { record } = this.#volumeStatus(name);
      const change = { ...(policy && { policy }), ...(retention && { retention }) };
      this.volumeRecords.set(name, { ...record, ...change });
      return this.#volumeStatus(name);
    },
    applyPolicy: async (name, { onProgress }) => {
      this.#volumeStatus(name);
      return await this.objects.reencodeAll(this.volumeRecords.get(name)!.policy, { onProgress });
    },
    objects: (name) => {
      this.#volumeStatus(name);
      return this.objects;
    },
    files: (name) => {
      throw new HoldfastError('HF_UNSUPPORTED', `the tree of ${name} is tested with a real node`);
    },
  };

  readonly devices: AdminParts['devices'] = {
    list: async () => [...this.devicesById.values()],
    add: async ({ path, capacityBytes = 1 << 30, isNew }) => {
      if (!isNew) throw new HoldfastError('HF_NOT_OURS', `${path} holds no store`);
      const id = 'ff'.repeat(16);
      const view = { ...DEVICES[0]!, id, path, sizeBytes: capacityBytes, usedBytes: 0 };
      this.devicesById.set(id, view);
      return { ...view, warnings: [] };
    },
    query: async (device) => this.#details(device),
    setLimits: async ({ device, ...limits }) => {
      Object.assign(this.limits, limits);
      return this.#details(device);
    },
    detach: async (device) => {
      const view: DeviceView = { ...this.#device(device), state: 'missing', reason: 'detached' };
      this.devicesById.set(view.id, view);
      return { ...view, warnings: ['2 objects cannot be read until it is back'] };
    },
    remove: async ({ device }) => {
      const view = this.#device(device);
      if (this.isFull) throw new HoldfastError('HF_TOO_FEW_STORES', 'no other place');
      this.devicesById.delete(view.id);
      return { ...view, warnings: [] };
    },
    locate: async ({ shards }) => {
      const storeId = shards[0]!.foundAt[0]!;
      return { storeId, device: this.#device(storeId).path, block: 4242 };
    },
  };

  #details(device: string): DeviceDetails {
    const view = this.#device(device);
    return {
      ...view,
      freeBytes: view.sizeBytes - view.usedBytes,
      chunkCount: 7,
      badChunkCount: 0,
      isDirect: true,
      limits: { ...this.limits },
      deviceNumber: { major: 7, minor: 0 },
      blockBytes: 4096,
      bitmap: { startBlock: 2081, blockCount: 8 },
      indexRootBlock: 2080,
      scrubbedAtMs: MADE_AT_MS,
      scrubCursor: 0,
      damagedAtMs: 0,
      fields: { format: 1 },
    };
  }

  #device(device: string): DeviceView {
    const all = [...this.devicesById.values()];
    const found = all.find(({ id, path }) => id.startsWith(device) || path === device);
    if (!found) throw new HoldfastError('HF_NOT_FOUND', `there is no store ${device}`);
    return found;
  }

  repairState: RepairStatus = {
    activity: 'rest',
    isWaiting: false,
    doneCount: 0,
    totalCount: 0,
    doneBytes: 0,
    totalBytes: 0,
    bytesPerSecond: 0,
    stripesAtRisk: 0,
    bytesAtRisk: 0,
    wholeGroups: 4096,
    groupCount: 4096,
  };
  /** Of the last repair that was asked for. */
  repairRate: number | undefined;

  async repairStatus() {
    return this.repairState;
  }

  /** Contents of clients under way, and those there were. */
  contentCounts = { now: 0, ever: 0 };

  beginContent(): Disposable {
    this.contentCounts.now += 1;
    this.contentCounts.ever += 1;
    return { [Symbol.dispose]: () => void (this.contentCounts.now -= 1) };
  }

  staleReads = 0;

  staleReadCount() {
    return this.staleReads;
  }

  metrics() {
    return { 'net_refused{why="expired"}': 3, net_links: 2 };
  }

  readonly repair: Repair = {
    health: async () => this.healthSummary,
    scrub: async (options = {}) => await this.#scrub(options),
    repair: async ({ rateBytesPerSecond } = {}) => {
      this.repairRate = rateBytesPerSecond;
      return { repaired: 2, incomplete: 0, skipped: 0, lost: 0, writtenBytes: 4096 };
    },
    collect: async () => ({ releases: 0, strays: 0, deletedStripes: 0, deletedChunks: 0 }),
    release: async () => {},
    releaseLoose: async () => {},
    abandon: async () => {},
    status: async () => this.repairState,
  };

  async #scrub({ signal, onProgress }: RunOptions) {
    for (let doneCount = 0; doneCount <= 1000; doneCount++) {
      onProgress?.({ doneCount, totalCount: 1000, bytes: doneCount * 100 });
    }
    if (this.isSlow) {
      const gone = new Promise((resolve) => signal?.addEventListener('abort', resolve));
      await gone;
      this.objects.broken.push('scrub');
      throw new HoldfastError('HF_INTERRUPTED');
    }
    const counts = {
      checked: 1000,
      checkedBytes: 100_000,
      mended: 0,
      failedStores: [],
    };
    return { ...counts, bad: this.badChunks };
  }

  readonly nodes: NodeView[] = [];

  readonly peers: PeerManager = {
    list: async () => this.nodes,
    connect: async () => this.nodes[0]!,
    invite: async ({ lifeMs }) => ({
      token: 'hfj1_token',
      expiresAtMs: MADE_AT_MS + lifeMs,
      addresses: ['tls://10.0.0.1:7450'],
    }),
    leave: async () => ({ movedChunks: 2, movedBytes: 8192 }),
    remove: async ({ node }) => {
      const found = this.nodes.find(({ name }) => name === node);
      if (!found) throw new HoldfastError('HF_NOT_FOUND', `"${node}" is no node`);
      return found;
    },
    grant: async (volume, node) => ({ volume, holders: [node] }),
    revoke: async (volume) => ({ volume, holders: [] }),
  };

  readonly diskViews: DiskView[] = [];

  readonly disks: DiskFinder = {
    list: async () => this.diskViews,
    here: async () => this.diskViews.slice(0, 1),
    where: async (name) => {
      const found = this.diskViews.filter(({ label }) => label === name);
      if (found.length > 0) return found;
      throw new HoldfastError('HF_NOT_FOUND', `no disk "${name}"`);
    },
  };

  readonly mounts: MountManager = {
    list: async () => [],
    async add(request) {
      return { ...request, mountedAtMs: MADE_AT_MS };
    },
    async remove({ directory }) {
      throw new HoldfastError('HF_NOT_FOUND', `nothing of this node is mounted at ${directory}`);
    },
  };
  readonly metadata: MetadataManager = {
    report: async () => METADATA,
    where: async (volume, path) => {
      this.#volumeStatus(volume);
      if (path === 'gone') throw new HoldfastError('HF_NOT_FOUND', 'there is no "gone"');
      return [{ what: 'entry', slot: 7, cell: METADATA.cells[0]! }];
    },
    restore: async () => ['lost: the last moments'],
    useEtcd: async ({ endpoints, prefix, authority }) => [
      `kept in ${endpoints.join(' and ')}: ${prefix}, vouched for by ${authority}`,
    ],
  };

  storePlaces() {
    return {};
  }

  layoutReport() {
    const survives = [{ level: 'disk', count: 2 }];
    return { survives, relaxed: ['all is one disk'], movedPositions: 0 };
  }

  async warnings() {
    return ['no kit was exported'];
  }

  async exportKit() {
    return 'KIT\n';
  }

  stop(): void {
    this.stopAsked.resolve();
  }
}

/** Content as a stream, whichever way it comes. */
async function* piecesOf(content: Content): AsyncGenerator<Uint8Array> {
  if (!('fill' in content)) return yield* content;
  for (;;) {
    const piece = new Uint8Array(65_536);
    const count = await content.fill(piece);
    if (count === 0) return;
    yield piece.subarray(0, count);
  }
}
