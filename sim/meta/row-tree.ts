/**
 * The tree as operations on the rows of cells, as small as can be: what `meta/cells` promises is
 * tested with it, free of what `meta/namespace` adds. A node's rows are in a slot of its own, so
 * that a directory's entries and the links of the files they name may be in different cells.
 *
 * Rows: slot 'D' directory, name → node; slot 'I' node → its links (files) or where its entry is
 * (directories).
 */
import { assert, ByteWriter, fromUtf8, HoldfastError, utf8 } from '../../src/base/index.ts';
import type { Overlay, Rows } from '../../src/meta/index.ts';
import { type Entry, FIRST_DIRECTORIES, isDirectory, OK, seenNode } from './tree-model.ts';
import type { NodeName, TreeCall } from './tree-model.ts';

export type SlotOf = (node: NodeName) => number;

/** What it needs of the rows of a cell. */
export type TreeRows = Pick<Overlay, 'get' | 'range' | 'put' | 'delete'>;

/** What the call does to rows; its answer is as the model has it. */
export function operationOf(call: TreeCall, slotOf: SlotOf): (rows: TreeRows) => string {
  return (rows) => new RowTree(rows, slotOf).run(call);
}

/** The slot whose cell is asked. */
export function slotOfCall(call: TreeCall, slotOf: SlotOf): number {
  return slotOf(call.do === 'list' ? call.directory : call.at.directory);
}

class RowTree {
  readonly #rows: TreeRows;
  readonly #slotOf: SlotOf;

  constructor(rows: TreeRows, slotOf: SlotOf) {
    this.#rows = rows;
    this.#slotOf = slotOf;
  }

  run(call: TreeCall): string {
    if (call.do === 'list') return this.#list(call.directory);
    if (call.do === 'lookup') return this.#seen(this.#named(call.at));
    if (call.do === 'create') this.#make(call.at, call.node, '1');
    else if (call.do === 'mkdir') this.#make(call.at, call.node, call.at.directory);
    else if (call.do === 'link') this.#link(call.at, call.node);
    else if (call.do === 'unlink') this.#unlink(call.at);
    else if (call.do === 'rmdir') this.#removeDirectory(call.at);
    else this.#rename(call);
    return OK;
  }

  #entryKey({ directory, name }: Entry): Uint8Array {
    return keyOf(this.#slotOf(directory), 'D', directory, name);
  }

  #nodeKey(node: NodeName): Uint8Array {
    return keyOf(this.#slotOf(node), 'I', node);
  }

  /** The keys of a directory's entries. */
  #entries(directory: NodeName): { from: Uint8Array; to: Uint8Array } {
    const from = keyOf(this.#slotOf(directory), 'D', directory);
    return { from, to: keyOf(this.#slotOf(directory), 'D', directory, NAMES_END) };
  }

  #find(at: Entry): NodeName | undefined {
    return textAt(this.#rows, this.#entryKey(at));
  }

  #named(at: Entry): NodeName {
    const node = this.#find(at);
    if (node === undefined) throw new HoldfastError('HF_NOT_FOUND', `${at.name} is not there`);
    return node;
  }

  #put(key: Uint8Array, text: string): void {
    this.#rows.put(key, utf8(text));
  }

  #seen(node: NodeName): string {
    return seenNode(node, isDirectory(node) ? 1 : this.#links(node));
  }

  #links(node: NodeName): number {
    const text = textAt(this.#rows, this.#nodeKey(node));
    if (text === undefined) throw new HoldfastError('HF_CORRUPT', `file ${node} has no row`);
    return Number(text);
  }

  #list(directory: NodeName): string {
    this.#checkAlive(directory);
    const range = this.#entries(directory);
    const texts = this.#rows.range(range).map(({ key, value }) => {
      const name = fromUtf8(key.subarray(range.from.length));
      return `${name}=${this.#seen(fromUtf8(value))}`;
    });
    return texts.sort().join();
  }

  #checkAlive(directory: NodeName): void {
    if (FIRST_DIRECTORIES.includes(directory)) return;
    if (textAt(this.#rows, this.#nodeKey(directory)) !== undefined) return;
    throw new HoldfastError('HF_NOT_FOUND', `directory ${directory} is gone`);
  }

  #checkFree(at: Entry): void {
    if (this.#find(at) !== undefined) throw new HoldfastError('HF_EXISTS');
  }

  #make(at: Entry, node: NodeName, text: string): void {
    this.#checkAlive(at.directory);
    this.#checkFree(at);
    this.#put(this.#entryKey(at), node);
    this.#put(this.#nodeKey(node), text);
  }

  #link(at: Entry, node: NodeName): void {
    this.#checkAlive(at.directory);
    const links = textAt(this.#rows, this.#nodeKey(node));
    if (links === undefined) throw new HoldfastError('HF_NOT_FOUND', `file ${node} is gone`);
    this.#checkFree(at);
    this.#put(this.#entryKey(at), node);
    this.#put(this.#nodeKey(node), String(Number(links) + 1));
  }

  #unlink(at: Entry): void {
    const node = this.#named(at);
    if (isDirectory(node)) throw new HoldfastError('HF_IS_DIRECTORY');
    this.#rows.delete(this.#entryKey(at));
    this.#dropLink(node);
  }

  #dropLink(node: NodeName): void {
    const links = this.#links(node) - 1;
    if (links === 0) this.#rows.delete(this.#nodeKey(node));
    else this.#put(this.#nodeKey(node), String(links));
  }

  #removeDirectory(at: Entry): void {
    const node = this.#named(at);
    if (!isDirectory(node)) throw new HoldfastError('HF_NOT_DIRECTORY');
    this.#checkEmpty(node);
    this.#rows.delete(this.#entryKey(at));
    this.#rows.delete(this.#nodeKey(node));
  }

  #checkEmpty(directory: NodeName): void {
    const [first] = this.#rows.range({ ...this.#entries(directory), limit: 1 });
    if (first) throw new HoldfastError('HF_NOT_EMPTY');
  }

  #rename({ at, to, mayReplace }: TreeCall & { do: 'rename' }): void {
    const source = this.#named(at);
    this.#checkAlive(to.directory);
    if (isDirectory(source)) this.#checkNotWithin(to.directory, source);
    const target = this.#find(to);
    if (target !== undefined && !mayReplace) throw new HoldfastError('HF_EXISTS');
    if (target === source) return;
    if (target !== undefined) this.#replace(source, target);
    this.#rows.delete(this.#entryKey(at));
    this.#put(this.#entryKey(to), source);
    if (isDirectory(source)) this.#put(this.#nodeKey(source), to.directory);
  }

  #replace(source: NodeName, target: NodeName): void {
    if (!isDirectory(target)) {
      if (isDirectory(source)) throw new HoldfastError('HF_NOT_DIRECTORY');
      return this.#dropLink(target);
    }
    if (!isDirectory(source)) throw new HoldfastError('HF_IS_DIRECTORY');
    this.#checkEmpty(target);
    this.#rows.delete(this.#nodeKey(target));
  }

  #checkNotWithin(directory: NodeName, node: NodeName): void {
    let at: NodeName | undefined = directory;
    for (let depth = 0; at !== undefined; depth += 1) {
      if (at === node) throw new HoldfastError('HF_BAD_ARGUMENT');
      assert(depth < 1000, 'directories make no circle');
      at = textAt(this.#rows, this.#nodeKey(at));
    }
  }
}

/** Above all names. */
const NAMES_END = '~';

function keyOf(slot: number, tag: string, node: NodeName, name = ''): Uint8Array {
  const writer = new ByteWriter(16).u16be(slot).u8(tag.charCodeAt(0));
  return writer
    .u32(Number(node.slice(1)))
    .raw(utf8(name))
    .finish();
}

function textAt(rows: Rows, key: Uint8Array): string | undefined {
  const value = rows.get(key);
  return value && fromUtf8(value);
}
