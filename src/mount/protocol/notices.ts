/**
 * Messages to the kernel that answer nothing: a header with unique 0 and the notice's code in the
 * place of the error, a struct, and bytes. Each is an array of its own, for it is written while
 * others are being made. Source: fs/fuse/dev.c of the Linux kernel (fuse_notify).
 */
import type { InodeNumber } from '../inode.ts';
import { EXPIRE_ONLY } from './flags.ts';
import { NOTICE_CODES } from './opcodes.ts';
import {
  DELETE_OUT,
  INVALIDATE_ENTRY_OUT,
  INVALIDATE_INODE_OUT,
  OUT_HEADER,
  STORE_OUT,
} from './structs.ts';

/** Names of notices end with one. */
const NUL = new Uint8Array(1);

/** The parts of one message. */
export type Notice = readonly Uint8Array[];

export function invalidateInode(
  inode: InodeNumber,
  { offset, lengthBytes }: { offset: number; lengthBytes: number },
): Notice {
  const { view, head } = begin(NOTICE_CODES.invalidateInode, INVALIDATE_INODE_OUT);
  put64(view, INVALIDATE_INODE_OUT.inode, inode);
  put64(view, INVALIDATE_INODE_OUT.offset, offset);
  put64(view, INVALIDATE_INODE_OUT.lengthBytes, lengthBytes);
  return finish(head, []);
}

/** @param onlyExpires see {@link EXPIRE_ONLY}. */
export function invalidateEntry(
  parent: InodeNumber,
  { name, onlyExpires }: { name: Uint8Array; onlyExpires: boolean },
): Notice {
  const { view, head } = begin(NOTICE_CODES.invalidateEntry, INVALIDATE_ENTRY_OUT);
  put64(view, INVALIDATE_ENTRY_OUT.parent, parent);
  put32(view, INVALIDATE_ENTRY_OUT.nameBytes, name.length);
  put32(view, INVALIDATE_ENTRY_OUT.flags, onlyExpires ? EXPIRE_ONLY : 0);
  return finish(head, [name, NUL]);
}

export function removeEntry(
  parent: InodeNumber,
  { inode, name }: { inode: InodeNumber; name: Uint8Array },
): Notice {
  const { view, head } = begin(NOTICE_CODES.delete, DELETE_OUT);
  put64(view, DELETE_OUT.parent, parent);
  put64(view, DELETE_OUT.inode, inode);
  put32(view, DELETE_OUT.nameBytes, name.length);
  return finish(head, [name, NUL]);
}

export function storeContent(
  inode: InodeNumber,
  { offset, data }: { offset: number; data: Uint8Array },
): Notice {
  const { view, head } = begin(NOTICE_CODES.store, STORE_OUT);
  put64(view, STORE_OUT.inode, inode);
  put64(view, STORE_OUT.offset, offset);
  put32(view, STORE_OUT.lengthBytes, data.length);
  return finish(head, [data]);
}

interface Begun {
  /** Of the struct, after the header. */
  readonly view: DataView;
  readonly head: Uint8Array;
}

function begin(code: number, struct: { readonly bytes: number }): Begun {
  const memory = new ArrayBuffer(OUT_HEADER.bytes + struct.bytes);
  put32(new DataView(memory), OUT_HEADER.error, code);
  return { view: new DataView(memory, OUT_HEADER.bytes), head: new Uint8Array(memory) };
}

function finish(head: Uint8Array, rest: readonly Uint8Array[]): Notice {
  const parts = [head, ...rest];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  put32(new DataView(head.buffer), OUT_HEADER.length, length);
  return parts;
}

/** Notices are rare: what costs is to be seen by the kernel, not to find the byte order. */
const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function put32(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, IS_LITTLE_ENDIAN);
}

function put64(view: DataView, at: number, value: number): void {
  view.setBigInt64(at, BigInt(value), IS_LITTLE_ENDIAN);
}
