/**
 * Open files of one volume on several nodes, in memory: a real volume cell, references and stripes.
 * Stores fail when they are told to.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { hexId, HoldfastError, type Policy, type VolumeId } from '../../src/base/index.ts';
import { volumeKeys } from '../../src/crypto/index.ts';
import { MemoryDb } from '../../src/db/index.ts';
import { MemoryLog } from '../../src/log/index.ts';
import {
  type Inode,
  openVolumeCell,
  ROOT_INODE,
  type Retention,
  type VolumeCell,
  type VolumeRecord,
} from '../../src/meta/index.ts';
import type { Repair } from '../../src/repair/index.ts';
import {
  type MountableOptions,
  type MountableVolume,
  type ObjectStore,
  openMountable,
  openObjects,
  OpenFiles,
  type OpenFilesOptions,
} from '../../src/volume/index.ts';
import { RepairBed, rs42 } from './repair-bed.ts';

export class FilesBed implements AsyncDisposable {
  readonly bed: RepairBed;
  readonly cell: VolumeCell;
  readonly repair: Repair;
  volume: VolumeRecord;
  /** Thrown by each put of a store. */
  putError: HoldfastError | undefined;
  /** Turns of the event loop that each of them takes, until it is set to less. */
  putTurns = 0;
  readonly #keys = volumeKeys(new Uint8Array(32).fill(3));
  readonly #stack = new AsyncDisposableStack();
  #names = 0;
  #sessions = 0;

  private constructor(bed: RepairBed, cell: VolumeCell, volume: VolumeRecord) {
    this.bed = bed;
    this.cell = cell;
    this.volume = volume;
    bed.onChange = async (what) => {
      if (what !== 'put') return;
      for (let turns = 0; turns < this.putTurns; turns++) await nextTurn();
      if (this.putError) throw this.putError;
    };
    this.repair = bed.openRepair({
      volumes: () => [volume.id],
      namespaceOf: () => cell.namespace,
      treeOf: () => cell.tree,
      uploadsOf: () => cell.uploads,
    });
  }

  static async open(
    options: { policy?: Policy; isDeduplicating?: boolean; retention?: Retention } = {},
  ): Promise<FilesBed> {
    const { policy = [rs42], isDeduplicating = false, retention } = options;
    const bed = await RepairBed.open(6);
    const { env } = bed;
    const cell = await openVolumeCell({ env, cell: 'v', log: new MemoryLog(), db: new MemoryDb() });
    if (retention) await cell.namespace.protect(retention);
    const id = hexId<VolumeId>(env.random.bytes(16));
    const record = { id, name: 'v', policy, isDeduplicating, retention, createdAtMs: 0 };
    return new FilesBed(bed, cell, { ...record, reencodedBy: undefined });
  }

  /** The open files of one more node. */
  async node(options: Partial<OpenFilesOptions> = {}): Promise<OpenFiles> {
    const files = new OpenFiles({ ...(await this.#nodeOptions()), ...options });
    this.#stack.use(files);
    return files;
  }

  /** The volume as mounts of one more node have it. */
  async mountable(options: Partial<MountableOptions> = {}): Promise<MountableVolume> {
    const { handles } = this.cell;
    const freeBytes = async (): Promise<number> => 4096 * 1000;
    const release = async (): Promise<void> => {};
    const node = { handles, node: `node ${this.#sessions}`, freeBytes, release };
    const all = { ...(await this.#nodeOptions()), ...node, ...options };
    return await openMountable(all, this.#stack);
  }

  async #nodeOptions(): Promise<OpenFilesOptions> {
    const { references, stripes, env } = this.bed;
    const session = await references.openSession(`node ${this.#sessions++}`);
    return {
      env,
      volume: () => this.volume,
      session: () => session,
      keys: this.#keys,
      namespace: this.cell.namespace,
      tree: this.cell.tree,
      references,
      stripes,
      repair: this.repair,
    };
  }

  /** The same volume, as objects; the caller disposes them. */
  async objects(): Promise<ObjectStore> {
    const { references, stripes, env, cluster } = this.bed;
    const session = await references.openSession('objects');
    return openObjects({
      env,
      volume: () => this.volume,
      session: () => session,
      keys: this.#keys,
      namespace: this.cell.namespace,
      tree: this.cell.tree,
      references,
      stripes,
      cluster,
      repair: this.repair,
    });
  }

  /** A new empty file. */
  async make(): Promise<Inode> {
    const name = Buffer.from(`file ${this.#names++}`);
    const place = { directory: ROOT_INODE, name, directoryName: Buffer.concat([name, name]) };
    const owner = { mode: 0o644, uid: 0, gid: 0 };
    const { status } = await this.cell.tree.makeNode({ ...owner, place, type: 'file' });
    return status.inode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.putError = undefined;
    await this.#stack[Symbol.asyncDispose]();
    await this.cell[Symbol.asyncDispose]();
    await this.bed[Symbol.asyncDispose]();
  }
}
