/**
 * A POSIX tree in memory, as plain as it can be said: what `src/meta/namespace` is compared with.
 * Content is a list of bytes, each known by the stripe that it came from; a hole is `undefined`.
 */
import { errorCode, toHex } from '../../src/base/index.ts';
import type { ContentRange, Extent, Inode, InodeType } from '../../src/meta/index.ts';

/** Fails with a code, as the real one. */
export class Refusal extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/** What came of it; errors that are not ours pass. */
export async function outcomeOf<Result>(
  work: () => Promise<Result>,
): Promise<{ result?: Result; code?: string }> {
  try {
    return { result: await work() };
  } catch (error) {
    const code = error instanceof Refusal ? error.code : errorCode(error);
    if (code === undefined) throw error;
    return { code };
  }
}

export interface ModelNode {
  readonly inode: Inode;
  readonly type: InodeType;
  mode: number;
  uid: number;
  gid: number;
  accessedMs: number;
  modifiedMs: number;
  changedMs: number;
  links: number;
  content: (string | undefined)[];
  /** So much of it is inline; none of it in extents then. */
  inlineBytes: number;
  /** By the name as it is stored. */
  readonly children: Map<string, ModelNode>;
  parent: ModelNode | undefined;
  isImplicit: boolean;
  hasQuota: boolean;
  quotaDirectory: Inode | undefined;
  readonly xattrs: Map<string, string>;
  target: string | undefined;
  objectId: string | undefined;
  /** Whether its content is what was put. */
  isAddressed: boolean;
}

export interface ModelPlace {
  readonly directory: Inode;
  readonly name: string;
}

export class ModelTree {
  nowMs = 0;
  readonly nodes = new Map<Inode, ModelNode>();
  readonly open = new Set<Inode>();
  readonly root: ModelNode;

  constructor(root: Inode) {
    this.root = this.make(root, 'directory', { mode: 0o755, uid: 0, gid: 0 });
    this.root.links = 2;
  }

  make(
    inode: Inode,
    type: InodeType,
    owner: { mode: number; uid: number; gid: number },
  ): ModelNode {
    const { nowMs } = this;
    const node: ModelNode = {
      inode,
      type,
      ...owner,
      accessedMs: nowMs,
      modifiedMs: nowMs,
      changedMs: nowMs,
      links: 0,
      content: [],
      inlineBytes: 0,
      children: new Map(),
      parent: undefined,
      isImplicit: false,
      hasQuota: false,
      quotaDirectory: undefined,
      xattrs: new Map(),
      target: undefined,
      objectId: undefined,
      isAddressed: false,
    };
    this.nodes.set(inode, node);
    return node;
  }

  node(inode: Inode): ModelNode {
    const found = this.nodes.get(inode);
    if (!found) throw new Refusal('HF_NOT_FOUND');
    return found;
  }

  directory(inode: Inode): ModelNode {
    const found = this.node(inode);
    if (found.type !== 'directory') throw new Refusal('HF_NOT_DIRECTORY');
    if (found.links === 0) throw new Refusal('HF_NOT_FOUND');
    return found;
  }

  quotaWithin(directory: ModelNode): Inode | undefined {
    return directory.hasQuota ? directory.inode : directory.quotaDirectory;
  }

  seen({ directory, name }: ModelPlace): { name: string; node: ModelNode } | undefined {
    const { children } = this.directory(directory);
    for (const form of [`${name}/`, name]) {
      const node = children.get(form);
      if (node) return { name: form, node };
    }
    return undefined;
  }

  given(place: ModelPlace): { name: string; node: ModelNode } {
    const seen = this.seen(place);
    if (!seen) throw new Refusal('HF_NOT_FOUND');
    return seen;
  }

  checkFree(place: ModelPlace): void {
    if (this.seen(place)) throw new Refusal('HF_EXISTS');
  }

  touch(directory: ModelNode, isOfTree = true): void {
    directory.modifiedMs = this.nowMs;
    directory.changedMs = this.nowMs;
    if (isOfTree) directory.isImplicit = false;
  }

  attach(directory: ModelNode, name: string, node: ModelNode): void {
    directory.children.set(name, node);
    if (node.type === 'directory') {
      node.parent = directory;
      node.links = Math.max(node.links, 2);
      directory.links += 1;
    } else node.links += 1;
  }

  detach(directory: ModelNode, name: string): ModelNode {
    const node = directory.children.get(name) as ModelNode;
    directory.children.delete(name);
    if (node.type === 'directory') {
      node.parent = undefined;
      directory.links -= 1;
    } else node.links -= 1;
    return node;
  }

  /** After its last link. */
  letGo(node: ModelNode): void {
    node.links = 0;
    node.changedMs = this.nowMs;
    node.quotaDirectory = undefined;
    node.objectId = undefined;
    node.isImplicit = false;
    if (!this.open.has(node.inode)) this.nodes.delete(node.inode);
  }

  create(place: ModelPlace, node: ModelNode): void {
    const directory = this.directory(place.directory);
    node.quotaDirectory = this.quotaWithin(directory);
    this.attach(directory, node.type === 'directory' ? `${place.name}/` : place.name, node);
    this.touch(directory);
  }

  link(inode: Inode, place: ModelPlace): void {
    const node = this.node(inode);
    if (node.type === 'directory') throw new Refusal('HF_DENIED');
    this.checkFree(place);
    const directory = this.directory(place.directory);
    const quota = this.quotaWithin(directory);
    if (node.links > 0 && quota !== node.quotaDirectory) throw new Refusal('HF_CROSS_TREE');
    node.quotaDirectory = quota;
    this.attach(directory, place.name, node);
    node.changedMs = this.nowMs;
    this.touch(directory);
  }

  unlink(place: ModelPlace): void {
    const { name, node } = this.given(place);
    if (node.type === 'directory') throw new Refusal('HF_IS_DIRECTORY');
    this.dropLink(place.directory, name);
    this.touch(this.directory(place.directory));
  }

  dropLink(directory: Inode, name: string): void {
    const node = this.detach(this.directory(directory), name);
    node.changedMs = this.nowMs;
    if (node.links === 0 || node.type === 'directory') this.letGo(node);
  }

  removeDirectory(place: ModelPlace): void {
    const { name, node } = this.given(place);
    if (node.type !== 'directory') throw new Refusal('HF_NOT_DIRECTORY');
    if (node.children.size > 0) throw new Refusal('HF_NOT_EMPTY');
    this.dropLink(place.directory, name);
    this.touch(this.directory(place.directory));
  }

  isWithin(node: ModelNode, above: ModelNode): boolean {
    for (let at: ModelNode | undefined = node; at; at = at.parent) if (at === above) return true;
    return false;
  }

  rename(from: ModelPlace, to: ModelPlace, flag: 'noReplace' | 'exchange' | undefined): void {
    const source = this.given(from);
    const target = this.seen(to);
    if (flag === 'noReplace' && target) throw new Refusal('HF_EXISTS');
    if (flag === 'exchange' && !target) throw new Refusal('HF_NOT_FOUND');
    if (target?.node === source.node) return;
    const [fromDirectory, toDirectory] = [from, to].map((at) => this.directory(at.directory));
    if (!fromDirectory || !toDirectory) return;
    if (this.isWithin(toDirectory, source.node)) throw new Refusal('HF_BAD_ARGUMENT');
    if (flag === 'exchange' && target) {
      if (this.isWithin(fromDirectory, target.node)) throw new Refusal('HF_BAD_ARGUMENT');
      const [isMoved, isThere] = [source, target].map(({ node }) => node.type === 'directory');
      if (!isMoved && isThere && toDirectory.children.has(to.name)) throw new Refusal('HF_EXISTS');
      if (isMoved && !isThere && fromDirectory.children.has(from.name)) {
        throw new Refusal('HF_EXISTS');
      }
      this.checkBorder(source.node, fromDirectory, toDirectory);
      this.checkBorder(target.node, toDirectory, fromDirectory);
      this.detach(fromDirectory, source.name);
      this.detach(toDirectory, target.name);
      this.arrive(source.node, toDirectory, to.name, fromDirectory !== toDirectory);
      this.arrive(target.node, fromDirectory, from.name, fromDirectory !== toDirectory);
    } else {
      if (target) this.checkReplacement(source.node, target.node);
      this.checkBorder(source.node, fromDirectory, toDirectory);
      if (target) this.dropLink(to.directory, target.name);
      this.detach(fromDirectory, source.name);
      this.arrive(source.node, toDirectory, to.name, fromDirectory !== toDirectory);
    }
    this.touch(fromDirectory);
    this.touch(toDirectory);
  }

  checkReplacement(source: ModelNode, target: ModelNode): void {
    const [isMoved, isThere] = [source, target].map(({ type }) => type === 'directory');
    if (isThere && !isMoved) throw new Refusal('HF_IS_DIRECTORY');
    if (!isThere && isMoved) throw new Refusal('HF_NOT_DIRECTORY');
    if (isThere && target.children.size > 0) throw new Refusal('HF_NOT_EMPTY');
  }

  checkBorder(node: ModelNode, from: ModelNode, to: ModelNode): void {
    if (from === to || this.quotaWithin(to) === node.quotaDirectory) return;
    const isStuck = node.type === 'directory' ? node.children.size > 0 : node.links > 1;
    if (isStuck) throw new Refusal('HF_CROSS_TREE');
  }

  arrive(node: ModelNode, directory: ModelNode, name: string, isElsewhere: boolean): void {
    this.attach(directory, node.type === 'directory' ? `${name}/` : name, node);
    node.changedMs = this.nowMs;
    if (isElsewhere) node.quotaDirectory = this.quotaWithin(directory);
  }

  file(inode: Inode): ModelNode {
    const node = this.node(inode);
    if (node.type === 'directory') throw new Refusal('HF_IS_DIRECTORY');
    if (node.type !== 'file') throw new Refusal('HF_BAD_ARGUMENT');
    return node;
  }

  resize(node: ModelNode, sizeBytes: number): void {
    if (node.content.length !== sizeBytes) node.isAddressed = false;
    node.content.length = Math.min(node.content.length, sizeBytes);
    while (node.content.length < sizeBytes) node.content.push(undefined);
    node.inlineBytes = Math.min(node.inlineBytes, sizeBytes);
  }

  write(inode: Inode, write: Inode, { extents, sizeBytes, holes = [] }: ModelWrite): void {
    const node = this.file(inode);
    const first = extents.filter(({ encoding }) => encoding === 0);
    this.#moveOut(node, [...first, ...holes]);
    const end = Math.max(0, ...first.map(({ offset, lengthBytes }) => offset + lengthBytes));
    this.resize(node, Math.max(node.content.length, sizeBytes, end));
    for (const extent of first) {
      for (let at = 0; at < extent.lengthBytes; at++) {
        node.content[extent.offset + at] = byteText(write, extent, at);
      }
    }
    for (const { offset, lengthBytes } of holes) {
      const end = Math.min(node.content.length, offset + lengthBytes);
      for (let at = offset; at < end; at++) node.content[at] = undefined;
    }
    this.#rewritten(node);
  }

  /** Extents take the place of inline content only where they bring all of it. */
  #moveOut(node: ModelNode, touched: readonly ContentRange[]): void {
    if (touched.length === 0) return;
    for (let at = 0; at < node.inlineBytes; at++) {
      const isBrought = touched.some((range) => at >= range.offset && at < endOf(range));
      if (!isBrought) throw new Refusal('HF_BUSY');
    }
    node.inlineBytes = 0;
  }

  /** Content that is put whole. @param isBase nobody else has changed the inode. */
  putInline(
    inode: Inode,
    { name, lengthBytes, sizeBytes }: { name: string; lengthBytes: number; sizeBytes: number },
    isBase: boolean,
  ): void {
    const node = this.file(inode);
    if (!isBase && node.content.length > 0) throw new Refusal('HF_BUSY');
    node.content = inlineContentOf(name, { lengthBytes, sizeBytes });
    node.inlineBytes = lengthBytes;
    this.#rewritten(node);
  }

  #rewritten(node: ModelNode): void {
    node.modifiedMs = this.nowMs;
    node.changedMs = this.nowMs;
    node.isAddressed = false;
  }

  change(inode: Inode, changes: Partial<ModelNode>): void {
    const always = { changedMs: this.nowMs, isImplicit: false };
    Object.assign(this.node(inode), changes, always);
  }

  setXattr(
    inode: Inode,
    { name, value, mode }: { name: string; value: string; mode: 'create' | 'replace' | undefined },
  ): void {
    const { xattrs } = this.node(inode);
    if (mode === 'create' && xattrs.has(name)) throw new Refusal('HF_EXISTS');
    if (mode === 'replace' && !xattrs.has(name)) throw new Refusal('HF_NO_DATA');
    xattrs.set(name, value);
    this.change(inode, {});
  }

  removeXattr(inode: Inode, name: string): void {
    const node = this.node(inode);
    if (!node.xattrs.delete(name)) throw new Refusal('HF_NO_DATA');
    node.changedMs = this.nowMs;
  }

  /** An object put under a key, or none; what has the id or the key goes. */
  put(node: ModelNode, id: string, at: ModelPlace | undefined): void {
    const old = [...this.nodes.values()].find((each) => each.objectId === id);
    const links = old ? this.linksOf((each) => each === old) : [];
    if (at) this.keepOwner(node, this.directory(at.directory).children.get(at.name) ?? old);
    for (const { directory, name } of links) this.detach(directory, name);
    if (old) this.letGo(old);
    Object.assign(node, { objectId: id, isAddressed: true });
    if (at) {
      const directory = this.directory(at.directory);
      if (directory.children.has(at.name)) this.dropLink(at.directory, at.name);
      node.quotaDirectory = this.quotaWithin(directory);
      this.attach(directory, at.name, node);
      this.touch(directory, false);
    }
    for (const { directory, name } of links) {
      if (directory.inode !== at?.directory || name !== at.name) this.leave(directory);
    }
  }

  private keepOwner(node: ModelNode, replaced: ModelNode | undefined): void {
    if (replaced?.type !== 'file') return;
    const { mode, uid, gid, xattrs } = replaced;
    const group = mode & 0o070 & (xattrs.size > 0 ? mode << 3 : 0o070);
    Object.assign(node, { mode: (mode & 0o1707) | group, uid, gid });
  }

  remove(id: string): void {
    const node = [...this.nodes.values()].find(({ objectId }) => objectId === id);
    if (!node) throw new Refusal('HF_NOT_FOUND');
    this.removeNode(node);
  }

  removeFile(inode: Inode): void {
    const node = this.node(inode);
    if (node.type === 'directory') throw new Refusal('HF_IS_DIRECTORY');
    if (!this.linksOf((each) => each === node)[0]) throw new Refusal('HF_NOT_FOUND');
    this.removeNode(node);
  }

  private removeNode(node: ModelNode): void {
    const links = this.linksOf((each) => each === node);
    for (const { directory, name } of links) this.detach(directory, name);
    this.letGo(node);
    for (const { directory } of links) this.leave(directory);
  }

  /** A new inode takes the place of another one. */
  reencode(old: ModelNode, inode: Inode, content: ModelNode['content']): void {
    const { nowMs } = this;
    const node: ModelNode = {
      ...old,
      inode,
      content,
      links: 0,
      changedMs: nowMs,
      xattrs: new Map(old.xattrs),
    };
    this.nodes.set(inode, node);
    for (const { directory, name } of this.linksOf((each) => each === old)) {
      directory.children.set(name, node);
      directory.changedMs = nowMs;
      node.links += 1;
    }
    this.letGo(old);
  }

  leave(directory: ModelNode): void {
    this.touch(directory, false);
    this.vanish(directory);
  }

  vanish(directory: ModelNode): void {
    const { parent } = directory;
    if (!directory.isImplicit || directory.children.size > 0 || !parent) return;
    const name = [...parent.children].find(([, node]) => node === directory)?.[0] as string;
    this.dropLink(parent.inode, name);
    this.touch(parent, false);
    this.vanish(parent);
  }

  linksOf(
    isMeant: (node: ModelNode) => boolean,
  ): { directory: ModelNode; name: string; node: ModelNode }[] {
    return [...this.nodes.values()].flatMap((directory) =>
      [...directory.children]
        .filter(([, node]) => isMeant(node))
        .map(([name, node]) => ({ directory, name, node })),
    );
  }
}

export interface ModelWrite {
  readonly extents: readonly Extent[];
  readonly sizeBytes: number;
  readonly holes?: readonly ContentRange[];
}

function endOf({ offset, lengthBytes }: ContentRange): number {
  return offset + lengthBytes;
}

/** What a file with inline content of this name reads as. */
export function inlineContentOf(
  name: string,
  { lengthBytes, sizeBytes }: { readonly lengthBytes: number; readonly sizeBytes: number },
): (string | undefined)[] {
  return Array.from({ length: sizeBytes }, (_, at) =>
    at < lengthBytes ? `${name} ${at}` : undefined,
  );
}

/** Which byte of which stripe. */
export function byteText(holder: Inode, { stripe }: Extent, at: number): string {
  return `${holder} ${toHex(stripe)} ${at}`;
}

/** What a file reads as, by its extents. */
export function contentOf(
  inode: Inode,
  extents: readonly Extent[],
  sizeBytes: number,
): (string | undefined)[] {
  const content = Array.from<string | undefined>({ length: sizeBytes });
  for (const extent of extents.filter(({ encoding }) => encoding === 0)) {
    const { offset, lengthBytes, holder = inode, whole } = extent;
    for (let at = offset; at < offset + lengthBytes; at++) {
      content[at] = byteText(holder, extent, at - (whole?.offset ?? offset));
    }
  }
  return content;
}
