/**
 * Archives for tests: folders as stores, a configuration, and ways to spoil them. A *drive* is a
 * folder below the mount root of the bed with a label file; unplugging it takes the folder away and
 * leaves an empty one in its place, as a mount point does.
 */
import { MachineDisks } from '../../src/device/index.ts';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {
  Archive,
  Catalogue,
  type Disk,
  type Outcome,
  parseConfig,
  realDisk,
} from '../../src/archive/index.ts';
import { type LocalDb, MemoryDb } from '../../src/db/index.ts';
import { realEnv } from '../../src/env/index.ts';

export interface ArchiveBedOptions {
  readonly isSealed?: boolean;
  readonly replicas?: number;
  readonly width?: number;
  /** Whether the second master store is left out. */
  readonly isAlone?: boolean;
}

const LABELS = ['A', 'B', 'C', 'D'] as const;

export class ArchiveBed implements AsyncDisposable {
  readonly root: string;
  /** Of the configuration, as the next run reads it. */
  options: ArchiveBedOptions;
  readonly #db = new MemoryDb();
  /** Acts until the machine stops; endless. */
  actsLeft = Infinity;
  shareKey: Uint8Array = new Uint8Array(32).fill(7);
  /** Done before each act that changes a store. */
  beforeAct: (() => Promise<void>) | undefined;

  private constructor(root: string, options: ArchiveBedOptions) {
    this.root = root;
    this.options = options;
  }

  /** Two master stores, four drives for 3/4 shares; all of them made. */
  static async open(options: ArchiveBedOptions = {}): Promise<ArchiveBed> {
    // In memory where that can be: thousands of small files wait for no disk.
    const base = existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
    const root = await fs.mkdtemp(path.join(base, 'holdfast-archive-'));
    const bed = new ArchiveBed(root, options);
    for (const label of LABELS) {
      await fs.mkdir(bed.path('media', `disk-${label}`), { recursive: true });
      await fs.writeFile(bed.path('media', `disk-${label}`, '.holdfast-label'), `${label}\n`);
    }
    await bed.with((archive) => archive.init());
    return bed;
  }

  path(...names: readonly string[]): string {
    return path.join(this.root, ...names);
  }

  drive(index: number, ...names: readonly string[]): string {
    return this.path('media', `disk-${LABELS[index]}`, ...names);
  }

  share(name: string, index: number): string {
    return this.drive(index, 'shares', `${name}-${index}.sf`);
  }

  get yaml(): string {
    const { isSealed = true, replicas = 1, width = 1, isAlone = false } = this.options;
    return `
mount_root: ${this.path('media')}
schemes:
  photos:
    description: for tests
    master_stores:
      main: { path: ${this.path('main')} }
${isAlone ? '' : `      spare: { path: ${this.path('spare')} }\n`}    share_stores:
${LABELS.map((label) => `      - { drive: ${label}, path: shares }`).join('\n')}
    nshares: 4
    quorum: 3
    width: ${width}
    sealed: ${isSealed}
    replicas: ${replicas}
`;
  }

  /** What all runs share. */
  get catalogue(): Catalogue {
    return new Catalogue(this.#unclosed());
  }

  /** Those of the machine that the bed stands for. */
  async disks(): Promise<MachineDisks> {
    return await MachineDisks.read({
      byLabelPath: this.path('by-label'),
      byUuidPath: this.path('by-uuid'),
      mountInfoPath: this.path('mountinfo'),
    });
  }

  async with<Result>(
    work: (archive: Archive) => Promise<Result>,
    { isDryRun = false }: { readonly isDryRun?: boolean } = {},
  ): Promise<Result> {
    await using archive = await Archive.open({
      config: parseConfig(this.yaml, 'archive.yaml'),
      dataPath: this.path('data'),
      shareKey: async () => this.shareKey,
      random: realEnv().random,
      disk: this.#disk(),
      catalogue: this.catalogue,
      disks: await this.disks(),
      isDryRun,
    });
    return await work(archive);
  }

  async all(
    work: (archive: Archive) => AsyncGenerator<Outcome>,
    options?: { readonly isDryRun?: boolean },
  ): Promise<Outcome[]> {
    return await this.with((archive) => Array.fromAsync(work(archive)), options);
  }

  /** Result by path. */
  async results(
    work: (archive: Archive) => AsyncGenerator<Outcome>,
    options?: { readonly isDryRun?: boolean },
  ): Promise<Record<string, string>> {
    const outcomes = await this.all(work, options);
    return Object.fromEntries(outcomes.map(({ path: name, result }) => [name, result]));
  }

  async write(store: 'main' | 'spare', name: string, content: string | Uint8Array): Promise<void> {
    await fs.mkdir(path.dirname(this.path(store, name)), { recursive: true });
    await fs.writeFile(this.path(store, name), content);
  }

  async flip(file: string, offset: number): Promise<void> {
    const bytes = await fs.readFile(file);
    bytes[offset < 0 ? bytes.length + offset : offset]! ^= 1;
    await fs.writeFile(file, bytes);
  }

  async unplug(index: number): Promise<() => Promise<void>> {
    const [place, away] = [this.drive(index), this.path(`away-${index}`)];
    await fs.rename(place, away);
    await fs.mkdir(place);
    return async () => {
      await fs.rm(place, { recursive: true });
      await fs.rename(away, place);
    };
  }

  /** Everything in the stores: path → digest. */
  snapshot(): Record<string, string> {
    const found: Record<string, string> = {};
    for (const top of ['main', 'spare', 'media']) {
      for (const entry of readdirSync(this.path(top), { recursive: true, withFileTypes: true })) {
        const file = path.join(entry.parentPath, entry.name);
        const name = path.relative(this.root, file);
        if (!entry.isFile()) found[`${name}/`] = '';
        else found[name] = createHash('sha256').update(readFileSync(file)).digest('hex');
      }
    }
    return found;
  }

  /** One catalogue for all runs: a thread for each would take longer than what is tested. */
  #unclosed(): LocalDb {
    return {
      get: (key) => this.#db.get(key),
      range: (options) => this.#db.range(options),
      transact: (changes) => this.#db.transact(changes),
      [Symbol.asyncDispose]: async () => {},
    };
  }

  #disk(): Disk {
    const act = async <Result>(work: () => Promise<Result>): Promise<Result> => {
      if (this.actsLeft <= 0) throw new Error('the machine has stopped');
      this.actsLeft -= 1;
      await this.beforeAct?.();
      return await work();
    };
    return {
      makeFolder: (folder) => act(() => realDisk.makeFolder(folder)),
      rename: (from, to) => act(() => realDisk.rename(from, to)),
      remove: (file) => act(() => realDisk.remove(file)),
      removeFolder: (folder) => act(() => realDisk.removeFolder(folder)),
      sync: (file) => act(() => realDisk.sync(file)),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await fs.rm(this.root, { recursive: true, force: true });
  }
}
