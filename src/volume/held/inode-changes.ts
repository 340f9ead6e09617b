/** What changes inodes that are known here: attributes, extended attributes, content. */
import { errorCode, HoldfastError, keyText } from '../../base/index.ts';
import {
  type AttributeChanges,
  type CommittedContent,
  type ContentCommit,
  type Inode,
  type InodeStatus,
  msOf,
  nsOf,
  type Tree,
  type TreeStep,
} from '../../meta/index.ts';
import type { Holder } from './holder.ts';
import type { KnownInode } from './known-inodes.ts';

type NewXattr = Parameters<Tree['setXattr']>[0];
type NewTime = NonNullable<AttributeChanges['modifiedNs']>;

export class InodeChanges {
  readonly #holder: Holder;
  readonly #tree: Tree;

  constructor(holder: Holder) {
    this.#holder = holder;
    this.#tree = holder.options.tree;
  }

  // Attributes.

  async setAttributes(inode: Inode, changes: AttributeChanges): Promise<InodeStatus> {
    const { known } = this.#holder;
    for (;;) {
      // Content that is being stored must not wait for what waits for it: a directory's return.
      const waits = changes.sizeBytes === undefined;
      const here = await this.#here(inode, { waits });
      if (!here || isCut(here.known, changes)) return await this.#setThere(inode, changes);
      if (!known.isCurrent(here.known)) {
        if (await this.#holder.fetch(inode)) continue;
        throw new HoldfastError('HF_NOT_FOUND', `inode ${inode} is gone`);
      }
      return this.#setHere(here, changes);
    }
  }

  #setHere({ known, home }: Here, changes: AttributeChanges): InodeStatus {
    const { inode } = known.status;
    const atMs = this.#nowMs();
    const { mode, uid, gid, attributes, accessedNs, modifiedNs } = changes;
    const wanted = {
      ...(mode !== undefined && { mode }),
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
      ...(attributes && { attributes }),
      ...(accessedNs !== undefined && { accessedNs: timeOf(accessedNs, atMs) }),
      ...(modifiedNs !== undefined && { modifiedNs: timeOf(modifiedNs, atMs) }),
    };
    const status = this.#holder.known.change(known, wanted, atMs);
    this.#note({ do: 'setAttributes', args: [inode, wanted], atMs }, inode, home);
    return status;
  }

  async #setThere(inode: Inode, changes: AttributeChanges): Promise<InodeStatus> {
    const { known, queue } = this.#holder;
    await this.#holder.bring(inode);
    const asOfMs = this.#holder.options.env.clock.monotonic();
    const status = await this.#tree.setAttributes(inode, changes);
    this.#isChanged(inode);
    while (known.isPending(inode)) await queue.bringAll(); // what was noted meanwhile counts, too
    const learnt = known.learn(status, asOfMs);
    return learnt === status ? status : ((await this.#holder.fetch(inode)) ?? status);
  }

  // Extended attributes.

  async getXattr(inode: Inode, name: Uint8Array): Promise<Uint8Array | undefined> {
    const ours = this.#ours(inode);
    if (ours?.xattrs) return ours.xattrs.get(keyText(name));
    return await this.#tree.getXattr(inode, name);
  }

  async listXattrs(inode: Inode): Promise<readonly Uint8Array[]> {
    const ours = this.#ours(inode);
    if (!ours?.xattrs) return await this.#tree.listXattrs(inode);
    return Array.from(ours.xattrs.keys(), (key) => new Uint8Array(Buffer.from(key, 'latin1')));
  }

  async setXattr(request: NewXattr): Promise<InodeStatus> {
    const { inode, name, value, mode, permissions } = request;
    const here = await this.#here(inode);
    const xattrs = here?.known.isOurs ? here.known.xattrs : undefined;
    if (!here || !xattrs) {
      return await this.#thereAnd(inode, () => this.#tree.setXattr(request));
    }
    const isThere = xattrs.has(keyText(name));
    if (mode === 'create' && isThere) throw new HoldfastError('HF_EXISTS');
    if (mode === 'replace' && !isThere) throw new HoldfastError('HF_NO_DATA');
    const atMs = this.#nowMs();
    xattrs.set(keyText(name), value);
    const changes = { hasXattrs: true, ...(permissions !== undefined && { mode: permissions }) };
    const status = this.#holder.known.change(here.known, changes, atMs);
    this.#note({ do: 'setXattr', args: [request], atMs }, inode, here.home);
    return status;
  }

  async removeXattr(inode: Inode, name: Uint8Array): Promise<InodeStatus> {
    const here = await this.#here(inode);
    const xattrs = here?.known.isOurs ? here.known.xattrs : undefined;
    if (!here || !xattrs) {
      return await this.#thereAnd(inode, () => this.#tree.removeXattr(inode, name));
    }
    if (!xattrs.delete(keyText(name))) throw new HoldfastError('HF_NO_DATA');
    const atMs = this.#nowMs();
    const status = this.#holder.known.change(here.known, {}, atMs);
    this.#note({ do: 'removeXattr', args: [inode, name], atMs }, inode, here.home);
    return status;
  }

  #ours(inode: Inode): KnownInode | undefined {
    const known = this.#holder.known.get(inode);
    return known?.isOurs && this.#holder.homeOf(known) ? known : undefined;
  }

  // Content.

  /** Together with what else is to be brought, and in its order. */
  async commitExtents(commit: ContentCommit): Promise<CommittedContent> {
    const { inode } = commit;
    const { known: all } = this.#holder;
    const known = all.get(inode);
    const home = known && this.#holder.homeOf(known);
    if (!known || !home) {
      return await this.#thereAnd(inode, () => this.#tree.commitExtents(commit));
    }
    // Nobody else can have changed what is ours: all changes that it had are known here.
    const baseChange = known.isOurs ? known.cellCount : commit.baseChange;
    known.cellCount += 1n;
    const atMs = this.#writtenAtMs(known, commit);
    const step: TreeStep = { do: 'commitExtents', args: [{ ...commit, baseChange }], atMs };
    const about = { directories: [home.inode], inodes: [inode] };
    const result = await this.#holder.run({ step, ...about }).catch(fenced);
    // Content goes past leases: what is there takes it, whoever has the directory now.
    if (!result) return await this.#thereAnd(inode, () => this.#tree.commitExtents(commit));
    const { code, changeCount, wasBase = false } = result;
    if (code !== undefined) {
      known.cellCount -= 1n;
      throw new HoldfastError(code);
    }
    if (!known.isOurs || !isFirst(known, commit)) return await this.#committed(inode, wasBase);
    const { status } = known;
    const isLast = !all.isPending(inode) && changeCount !== undefined;
    const counted = isLast ? changeCount : status.changeCount + 1n;
    const marks = { changeCount: counted, changedNs: nsOf(atMs) };
    known.status = { ...status, ...contentOf(commit, status), ...marks };
    return { status: known.status, wasBase };
  }

  /** Of content that goes over others, the cell knows how much is stored. */
  async #committed(inode: Inode, wasBase: boolean): Promise<CommittedContent> {
    const asOfMs = this.#holder.options.env.clock.monotonic();
    const status = await this.#tree.getAttributes(inode);
    if (!status) throw new HoldfastError('HF_NOT_FOUND', `inode ${inode} is gone`);
    const known = this.#holder.known.get(inode);
    if (known) {
      const { sizeBytes, storedBytes, schemeNumbers, isInline, modifiedNs } = status;
      const content = { sizeBytes, storedBytes, schemeNumbers, isInline, modifiedNs };
      known.status = { ...known.status, ...content };
    }
    return { status: this.#holder.known.learn(status, asOfMs), wasBase };
  }

  /**
   * As who looked meanwhile was told: content is changed when it is written, not when it is kept.
   */
  #writtenAtMs({ status }: KnownInode, { modifiedNs }: ContentCommit): number {
    const nowMs = this.#nowMs();
    const changedMs = msOf(status.changedNs);
    const modifiedMs = typeof modifiedNs === 'bigint' ? msOf(modifiedNs) : nowMs;
    return Math.min(nowMs, Math.max(changedMs, modifiedMs));
  }

  // What they have in common.

  /** What is changed here; waits while its directory is on its way back. */
  async #here(inode: Inode, { waits } = { waits: true }): Promise<Here | undefined> {
    for (;;) {
      await this.#holder.queue.room();
      const known = this.#holder.known.get(inode);
      const home = known?.home === undefined ? undefined : this.#holder.holdings.get(known.home);
      if (!known || !home) return undefined;
      if (this.#holder.holdings.isFit(home)) return { known, home: home.inode };
      if (!home.returning || !waits) return undefined;
      await home.returning;
    }
  }

  async #thereAnd<Result>(inode: Inode, ask: () => Promise<Result>): Promise<Result> {
    await this.#holder.bring(inode);
    const result = await ask();
    this.#isChanged(inode);
    return result;
  }

  /** By a cell. */
  #isChanged(inode: Inode): void {
    this.#holder.known.distrust(inode);
    this.#holder.glances.changed(inode);
  }

  #note(step: TreeStep, inode: Inode, home: Inode): void {
    this.#holder.note({ step, directories: [home], inodes: [inode] });
  }

  #nowMs(): number {
    return this.#holder.options.env.clock.now();
  }
}

/** It was never done, nor will be. @throws anything else. */
function fenced(error: unknown): undefined {
  if (errorCode(error) !== 'HF_FENCED') throw error;
}

interface Here {
  readonly known: KnownInode;
  readonly home: Inode;
}

/** Whether content goes, or comes as zeros: that is for the cell to do. */
function isCut({ status }: KnownInode, { sizeBytes }: AttributeChanges): boolean {
  return sizeBytes !== undefined && (sizeBytes !== status.sizeBytes || status.storedBytes > 0);
}

/** Whether it is the first content of a file. */
function isFirst({ status }: KnownInode, commit: ContentCommit): boolean {
  const { extents, holes = [], inline } = commit;
  if (holes.length > 0) return false;
  return status.storedBytes === 0 || (extents.length === 0 && !inline);
}

function contentOf(
  { extents, inline, schemeNumbers, sizeBytes, modifiedNs }: ContentCommit,
  status: InodeStatus,
): Partial<InodeStatus> {
  const times = typeof modifiedNs === 'bigint' ? { modifiedNs } : {};
  if (inline) return { ...times, sizeBytes, storedBytes: inline.lengthBytes, isInline: true };
  const first = extents.filter(({ encoding }) => encoding === 0);
  const bytes = first.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
  const ends = first.map(({ offset, lengthBytes }) => offset + lengthBytes);
  return {
    sizeBytes: Math.max(status.sizeBytes, sizeBytes, ...ends),
    storedBytes: status.storedBytes + bytes,
    ...(extents.length > 0 && { schemeNumbers }),
    ...times,
  };
}

function timeOf(time: NewTime, nowMs: number): bigint {
  return time === 'now' ? nsOf(nowMs) : time;
}
