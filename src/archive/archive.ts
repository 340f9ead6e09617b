/**
 * An archive: the schemes of a configuration, with their stores looked up. Paths are given as
 * places below a store (`/home/me/photos/a.jpg`, or the share of it on a drive), or as
 * `scheme:path`, which also names what is on a drive that is away.
 */
import path from 'node:path';
import { errorMessage, HoldfastError } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import { inspectShare, type Progress } from '../shares/index.ts';
import { Catalogue } from './catalogue.ts';
import { checkEntry, compareEntry, verifyEntry } from './compare.ts';
import { commitEntry } from './commit.ts';
import type { ArchiveConfig } from './config.ts';
import { type Disk, realDisk } from './disk.ts';
import { assertLintable, assertNoMove, discardEntry, lintEntry } from './lint.ts';
import { moveEntry } from './move.ts';
import { extractEntry, recoverEntry, restoreTo } from './restore.ts';
import { scanEntry, type ScanRow } from './scan.ts';
import { splitEntry, type SplitModes } from './split.ts';
import { assertApart, findStores, type InitResult, initStores } from './stores.ts';
import { isOnline, realPlace, type Store } from './stores.ts';
import {
  type Entry,
  entryOf,
  isFile,
  isFolder,
  nameOfShare,
  walk,
  type WalkOptions,
} from './tree.ts';
import { validateBelow, type ValidateOptions } from './validate.ts';
import { type KnownDisks, Volumes } from './volumes.ts';
import { failed, isForAll, type Outcome, scratchFolder, type Work } from './work.ts';

export interface ArchiveOptions {
  readonly config: ArchiveConfig;
  /** Where the catalogue is. */
  readonly dataPath: string;
  /**
   * Asked for when something is to be sealed or opened.
   * @param mayBeMade whether one that is not there may be made: where no share is sealed yet.
   */
  readonly shareKey: (mayBeMade: () => Promise<boolean>) => Promise<Uint8Array>;
  /** The share key if there is one; by default as `shareKey`. */
  readonly knownKey?: (() => Promise<Uint8Array | undefined>) | undefined;
  readonly random: Pick<Random, 'bytes'>;
  /** Nothing in any store is changed; what would be is said. */
  readonly isDryRun?: boolean | undefined;
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Those of this machine, as they are now. */
  readonly disks: KnownDisks;
  /** For tests. */
  readonly disk?: Disk | undefined;
  readonly catalogue?: Catalogue | undefined;
}

/** What a path of the user's means. */
interface Selection {
  readonly work: Work;
  readonly name: string;
}

type PerEntry = (work: Work, entry: Entry) => Promise<Outcome | readonly Outcome[] | undefined>;

interface EachOptions extends WalkOptions {
  readonly before?: (work: Work) => void;
  /** Whether without a master store there is nothing to do. */
  readonly needsMaster?: boolean;
}

const WORK_FOLDER = 'archive-work';

export class Archive implements AsyncDisposable {
  readonly #options: ArchiveOptions;
  readonly #catalogue: Catalogue;
  readonly #volumes: Volumes;
  readonly #works: readonly Work[];

  private constructor(
    options: ArchiveOptions,
    parts: { catalogue: Catalogue; volumes: Volumes; works: readonly Work[] },
  ) {
    this.#options = options;
    this.#catalogue = parts.catalogue;
    this.#volumes = parts.volumes;
    this.#works = parts.works;
  }

  /** Looks for all stores; those that are away are none the worse for it. */
  static async open(options: ArchiveOptions): Promise<Archive> {
    const { config, dataPath, isDryRun = false, disk = realDisk } = options;
    const volumes = new Volumes(config.mountRoot, options.disks);
    const catalogue = options.catalogue ?? (await Catalogue.open(dataPath));
    try {
      const works: Work[] = [];
      const isFirstKey = async () => !(await hasSealedShares(works));
      const shareKey = () => options.shareKey(isFirstKey);
      const { knownKey = shareKey } = options;
      const shared = { ...options, shareKey, knownKey, catalogue, disk, isDryRun };
      for (const scheme of config.schemes) {
        const view = { scheme, ...(await findStores(scheme, { volumes, catalogue })) };
        const workPath = scheme.workingDir ?? path.join(dataPath, WORK_FOLDER);
        works.push({ ...shared, view, workPath });
      }
      const stores = works.flatMap(({ view }) => [...view.masters, ...view.shares]);
      for (const { workPath } of works) await assertApart(stores, workPath);
      return new Archive(options, { catalogue, volumes, works });
    } catch (error) {
      await catalogue[Symbol.asyncDispose]();
      throw error;
    }
  }

  get stores(): readonly Store[] {
    return this.#works.flatMap(({ view }) => [...view.masters, ...view.shares]);
  }

  /** Makes folders and markers of stores that are used for the first time. */
  async init({
    adopts = [],
    forgets = [],
  }: {
    adopts?: readonly string[];
    /** Stores that are in no configuration any more. */
    forgets?: readonly string[];
  } = {}): Promise<InitResult[]> {
    const here = this.stores.map(({ scheme, name }) => `${scheme}/${name}`);
    assertNames(adopts, here);
    assertNames(
      forgets,
      this.#storesOnceThere().filter((name) => !here.includes(name)),
    );
    const results: InitResult[] = [];
    for (const { view, disk, isDryRun } of this.#works) {
      const { name } = view.scheme;
      for (const store of this.#catalogue.storeNames(name)) {
        const isGone = forgets.includes(`${name}/${store}`) && !view.scheme.masterStores.has(store);
        if (isGone && !isDryRun) await this.#catalogue.removeStore(name, store);
      }
      const { random } = this.#options;
      const finder = { catalogue: this.#catalogue, volumes: this.#volumes };
      const options = { ...finder, disk, random, adopts, isDryRun };
      results.push(...(await initStores(view.scheme, options)));
    }
    return results;
  }

  #storesOnceThere(): string[] {
    return this.#works.flatMap(({ view: { scheme } }) =>
      this.#catalogue.storeNames(scheme.name).map((store) => `${scheme.name}/${store}`),
    );
  }

  async *scan(paths: readonly string[]): AsyncGenerator<ScanRow> {
    for (const { work, name } of await this.#selected(paths)) {
      const { scheme, masters } = work.view;
      const looked = scheme.scansOthers ? masters : masters.slice(0, 1);
      const scanned = { ...work, view: { ...work.view, masters: looked } };
      for await (const entry of walk(scanned.view, name, work))
        yield* await scanEntry(scanned, entry);
    }
  }

  split(
    paths: readonly string[],
    modes: SplitModes = { overwrites: false },
  ): AsyncGenerator<Outcome> {
    return this.#each(paths, (work, entry) => splitEntry(work, entry, modes), {
      before: assertNoMove,
      needsMaster: true,
    });
  }

  compare(paths: readonly string[]): AsyncGenerator<Outcome> {
    return this.#each(paths, onFiles(compareEntry));
  }

  verify(paths: readonly string[]): AsyncGenerator<Outcome> {
    return this.#each(paths, onFiles(verifyEntry));
  }

  check(paths: readonly string[]): AsyncGenerator<Outcome> {
    return this.#each(paths, onFiles(checkEntry));
  }

  commit(paths: readonly string[]): AsyncGenerator<Outcome> {
    return this.#each(paths, commitEntry, { before: assertNoMove });
  }

  recover(paths: readonly string[]): AsyncGenerator<Outcome> {
    const onlyLost: PerEntry = async (work, entry) => {
      const isNamed = paths.length > 0 && (await this.#isNamed(paths, work, entry));
      // What a whole folder still has is no fault; a file that was named is.
      if (!isNamed && entry.masters[0]?.fact) return undefined;
      return await recoverEntry(work, entry);
    };
    return this.#each(paths, onlyLost, { before: assertNoMove });
  }

  /** @param folder takes the files, with their folders below what was named. */
  async *extract(paths: readonly string[], folder: string): AsyncGenerator<Outcome> {
    for (const selection of await this.#selected(paths)) {
      const above = path.posix.dirname(selection.name);
      const start = above === '.' ? 0 : above.length + 1;
      yield* this.#eachOf(selection, (work, entry) =>
        extractEntry(work, entry, path.join(folder, entry.path.slice(start))),
      );
    }
  }

  /** Checked content of one file, in a place of its own until `use` has returned. */
  async read<Result>(place: string, use: (file: string) => Promise<Result>): Promise<Result> {
    const [{ work, name }] = (await this.#selected([place])) as [Selection];
    const entry = await entryOf(work.view, name);
    if (!isFile(entry)) throw new HoldfastError('HF_IS_DIRECTORY', `${place} is no file`);
    await using scratch = await scratchFolder(work);
    const file = path.join(scratch.path, 'content');
    const { detail, isFault } = await restoreTo(work, entry, file);
    if (isFault) throw new HoldfastError('HF_CORRUPT', `${place}: ${detail}; extract brings it`);
    return await use(file);
  }

  lint(
    paths: readonly string[],
    { removes = false, isLocal = false }: { removes?: boolean; isLocal?: boolean } = {},
  ): AsyncGenerator<Outcome> {
    return this.#each(paths, (work, entry) => lintEntry(work, entry, { removes }), {
      before: assertLintable,
      isLocal,
    });
  }

  discard(paths: readonly string[]): AsyncGenerator<Outcome> {
    return this.#each(paths, discardEntry, { before: assertNoMove });
  }

  async move(from: string, to: string): Promise<Outcome> {
    const source = await this.#locate(from);
    const target = await this.#locate(to);
    if (source.work !== target.work) {
      throw new HoldfastError('HF_BAD_ARGUMENT', `${from} and ${to} are of different schemes`);
    }
    return await moveEntry(source.work, { from: source.name, to: target.name });
  }

  async *validate(paths: readonly string[], options: ValidateOptions): AsyncGenerator<Outcome> {
    const selections = paths.length > 0 ? await this.#selected(paths) : this.#everything();
    for (const { work, name } of selections) yield* validateBelow(work, name, options);
  }

  /** What goes wrong with one file is said, and the next one has its turn. */
  async *#each(
    paths: readonly string[],
    perEntry: PerEntry,
    options: EachOptions = {},
  ): AsyncGenerator<Outcome> {
    const selections = await this.#selected(paths);
    for (const { work } of selections) options.before?.(work);
    for (const selection of selections) {
      const reason = blindness(selection.work, options);
      if (reason === undefined) yield* this.#eachOf(selection, perEntry, options);
      else yield failed(selection.work, selection.name, reason);
    }
  }

  async *#eachOf(
    { work, name }: Selection,
    perEntry: PerEntry,
    options: WalkOptions = {},
  ): AsyncGenerator<Outcome> {
    for await (const entry of walk(work.view, name, { signal: work.signal, ...options })) {
      for (const { reason } of entry.faults) yield failed(work, entry.path, reason);
      try {
        const said = await perEntry(work, entry);
        if (said) yield* [said].flat() as Outcome[];
      } catch (error) {
        if (isForAll(error)) throw error;
        yield failed(work, entry.path, errorMessage(error));
      }
    }
  }

  async #isNamed(paths: readonly string[], work: Work, { path: name }: Entry): Promise<boolean> {
    for (const place of paths) {
      const located = await this.#locate(place);
      if (located.work === work && located.name === name) return true;
    }
    return false;
  }

  /** All there is, or what is named. @throws HF_NOT_FOUND. */
  async #selected(paths: readonly string[]): Promise<Selection[]> {
    if (paths.length === 0) return this.#everything();
    const selections: Selection[] = [];
    for (const place of paths) {
      const selection = await this.#locate(place);
      const entry = await entryOf(selection.work.view, selection.name);
      const isRoot = selection.name === '';
      if (!isRoot && !isFile(entry) && !isFolder(entry)) {
        throw new HoldfastError('HF_NOT_FOUND', `no store that is online has ${place}`);
      }
      selections.push(selection);
    }
    return selections;
  }

  #everything(): Selection[] {
    return this.#works.map((work) => ({ work, name: '' }));
  }

  async #locate(place: string): Promise<Selection> {
    const [, scheme, within] = /^([\w.-]+):(.*)$/s.exec(place) ?? [];
    const named = this.#works.find(({ view }) => view.scheme.name === scheme);
    if (named) return { work: named, name: cleaned(within!, place) };
    const absolute = path.resolve(place);
    const found = this.#below(absolute) ?? this.#below(await realPlace(absolute));
    if (found) return found;
    const message = `${place} is in no store that is online; name it as scheme:path`;
    throw new HoldfastError('HF_NOT_FOUND', message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#catalogue[Symbol.asyncDispose]();
  }

  #below(absolute: string): Selection | undefined {
    for (const work of this.#works) {
      const { masters, shares } = work.view;
      for (const [index, store] of [...masters, ...shares].entries()) {
        const root = rootOf(store, this.#options.config.mountRoot);
        if (absolute !== root && !absolute.startsWith(`${root}/`)) continue;
        const name = absolute.slice(root.length + 1);
        const number = index - masters.length;
        return { work, name: (number >= 0 && nameOfShare(name, number)) || name };
      }
    }
    return undefined;
  }
}

/** @throws HF_BAD_ARGUMENT for what no store is called: a mistyped name must not do nothing. */
function assertNames(names: readonly string[], stores: readonly string[]): void {
  const unknown = names.find((name) => !stores.includes(name));
  if (unknown === undefined) return;
  const known = stores.length === 0 ? 'there are none' : `there are ${stores.join(', ')}`;
  throw new HoldfastError('HF_BAD_ARGUMENT', `there is no such store ${unknown}; ${known}`);
}

/** Why nothing can be seen that there may be: then nothing is in order either. */
function blindness(
  { view: { masters, shares } }: Work,
  { needsMaster = false }: EachOptions,
): string | undefined {
  const looked = needsMaster ? masters : [...masters, ...shares];
  if (looked.some(isOnline)) return undefined;
  return `no ${needsMaster ? 'master store' : 'store'} of it is online: ${looked[0]!.reason}`;
}

/** By the catalogue, or where that is lost by the first sealed share that is found. */
async function hasSealedShares(works: readonly Work[]): Promise<boolean> {
  for (const { catalogue, view } of works) {
    for (const [, record] of catalogue.files(view.scheme.name, '')) {
      if (record.isSealed && record.shares.length > 0) return true;
    }
  }
  for (const { view, signal } of works) {
    for await (const { shares } of walk(view, '', { signal })) {
      for (const { fact } of shares) {
        if (fact?.kind !== 'file') continue;
        const share = await inspectShare(fact.path).catch(() => undefined);
        if (share && 'trailer' in share && share.trailer) return true;
      }
    }
  }
  return false;
}

/** Where it is, or would be. */
function rootOf(store: Store, mountRoot: string): string {
  if (isOnline(store)) return store.root;
  const { place } = store;
  return place.kind === 'fixed' ? place.path : path.join(mountRoot, place.label, place.path);
}

function onFiles(perFile: (work: Work, entry: Entry) => Promise<Outcome>): PerEntry {
  return async (work, entry) => (isFile(entry) ? await perFile(work, entry) : undefined);
}

function cleaned(within: string, place: string): string {
  const name = path.posix.normalize(within || '.').replace(/\/$/, '');
  if (name === '.') return '';
  if (!name.startsWith('/') && name.split('/')[0] !== '..') return name;
  throw new HoldfastError('HF_BAD_ARGUMENT', `${place} leads out of its scheme`);
}
