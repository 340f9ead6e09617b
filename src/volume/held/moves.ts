/** Renames: done here where both directories are held and nothing has to be looked at elsewhere. */
import { HoldfastError } from '../../base/index.ts';
import type { Place, Removal, Tree } from '../../meta/index.ts';
import type { HeldDirectory } from './held-directory.ts';
import type { Holder } from './holder.ts';
import { WEIGHT } from './heats.ts';
import type { KnownInode } from './known-inodes.ts';
import type { Removals } from './removals.ts';

type RenameRequest = Parameters<Tree['rename']>[0];

export class Moves {
  readonly #holder: Holder;
  readonly #removals: Removals;

  constructor(holder: Holder, removals: Removals) {
    this.#holder = holder;
    this.#removals = removals;
  }

  async rename(request: RenameRequest): Promise<Removal | undefined> {
    const { from, to } = request;
    const { holdings } = this.#holder;
    for (;;) {
      await this.#holder.queue.room();
      const source = await holdings.find(from.directory, WEIGHT.change);
      const target = await holdings.find(to.directory, WEIGHT.change);
      if (!source && !target) {
        return await this.#holder.changeDirectly([from, to], () =>
          this.#holder.options.tree.rename(request),
        );
      }
      if ((source && !holdings.isFit(source)) || (target && !holdings.isFit(target))) continue;
      const done =
        source && target
          ? await this.#moveHere(request, source, target)
          : await this.#moveThere(request);
      if (done !== 'again') return done;
    }
  }

  /** Files and what stays in its directory; all else is for the cells to see. */
  async #moveHere(
    request: RenameRequest,
    source: HeldDirectory,
    target: HeldDirectory,
  ): Promise<Removal | undefined | 'again'> {
    const { from, to, flag } = request;
    const { holdings } = this.#holder;
    const moved = await this.#knownAt(source, from);
    const replaced = await this.#knownAt(target, to);
    if (moved === 'again' || replaced === 'again') return 'again';
    if (!holdings.isFit(source) || !holdings.isFit(target)) return 'again';
    if (!moved) throw new HoldfastError('HF_NOT_FOUND');
    if (flag === 'noReplace' && replaced) throw new HoldfastError('HF_EXISTS');
    if (replaced === moved && flag !== 'exchange') return undefined;
    const isDirectory = moved.status.type === 'directory';
    const isPlain =
      flag !== 'exchange' &&
      (!isDirectory || source === target) &&
      (!replaced || (!isDirectory && replaced.status.type !== 'directory'));
    if (!isPlain || (moved.home === undefined && moved.status.linkCount === 1)) {
      return await this.#moveThere(request);
    }
    return this.#moved(request, { moved, replaced, source, target });
  }

  async #knownAt(held: HeldDirectory, place: Place): Promise<KnownInode | undefined | 'again'> {
    const standing = await this.#holder.standing(held, place);
    if (standing === 'unfit') return 'again';
    if (typeof standing !== 'bigint') return undefined;
    return await this.#holder.current(standing, held.inode);
  }

  #moved(
    request: RenameRequest,
    parts: {
      readonly moved: KnownInode;
      readonly replaced: KnownInode | undefined;
      readonly source: HeldDirectory;
      readonly target: HeldDirectory;
    },
  ): Removal | undefined {
    const { from, to } = request;
    const { moved, replaced, source, target } = parts;
    const { known } = this.#holder;
    const { inode, type } = moved.status;
    const atMs = this.#holder.options.env.clock.now();
    const isDirectory = type === 'directory';
    source.set(isDirectory ? from.directoryName : from.name, undefined);
    target.set(isDirectory ? to.directoryName : to.name, inode);
    known.change(moved, {}, atMs);
    if (moved.home !== undefined) moved.home = target.inode;
    for (const held of [source, target]) this.#holder.touch(held.inode, atMs);
    const gone = replaced?.status.inode;
    this.#holder.note({
      step: { do: 'rename', args: [request], atMs },
      directories: source === target ? [source.inode] : [source.inode, target.inode],
      inodes: [...new Set([inode, source.inode, target.inode]), ...(gone ? [gone] : [])],
      removes: gone,
      onDone: (result) =>
        gone !== undefined && this.#removals.isBrought(gone, result, target.inode),
    });
    return replaced && { status: this.#removals.without(replaced, atMs), release: undefined };
  }

  /** By the cells, with what is held here; what was known of it is asked for again. */
  async #moveThere(request: RenameRequest): Promise<Removal | undefined> {
    const { holdings, known } = this.#holder;
    const both = [request.from.directory, request.to.directory];
    for (const directory of both) known.distrust(directory);
    return await this.#holder.changeDirectly([request.from, request.to], async () => {
      for (const directory of both) {
        const held = holdings.get(directory);
        if (held) await holdings.giveBack(held);
      }
      return await this.#holder.options.tree.rename(request);
    });
  }
}
