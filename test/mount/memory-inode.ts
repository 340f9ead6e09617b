/** An inode in memory: what stat(2) shows of it, and what it holds by its type. */
import { constants } from 'node:fs';
import { asBuffer } from '../../src/base/index.ts';
import type { Attributes, Entry, NewTime, Timestamp } from '../../src/mount/index.ts';
import { MemoryContent } from './memory-content.ts';

const SET_USER_ID = 0o4000;
export const SET_GROUP_ID = 0o2000;
const GROUP_EXECUTES = 0o010;
export const PERMISSION_BITS = 0o7777;
/** How long the kernel may remember: the tree changes through this one mount only. */
const KNOWN_MS = 3600_000;
const NO_TARGET = new Uint8Array(0);

export interface Origin {
  readonly number: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly deviceNumber?: number;
}

export class MemoryInode implements Attributes {
  readonly number: number;
  readonly inode: bigint;
  readonly deviceNumber: number;
  mode: number;
  uid: number;
  gid: number;
  linkCount = 1;
  accessed: Timestamp = now();
  modified: Timestamp = this.accessed;
  changed: Timestamp = this.accessed;
  parent: MemoryInode;
  /** Of a symlink. */
  target: Uint8Array = NO_TARGET;
  /** What the kernel is told; one object for ever, for it changes along. */
  readonly entry: Entry;
  // Made when they are first asked for; most inodes have two of them never.
  #content: MemoryContent | undefined;
  #children: Map<string, MemoryInode> | undefined;
  #xattrs: Map<string, Uint8Array> | undefined;

  constructor({ number, mode, uid, gid, deviceNumber = 0 }: Origin) {
    this.number = number;
    this.inode = BigInt(number);
    this.mode = mode;
    this.uid = uid;
    this.gid = gid;
    this.deviceNumber = deviceNumber;
    this.parent = this;
    if (this.isDirectory) this.linkCount = 2;
    this.entry = { inode: number, attributes: this, attributesMs: KNOWN_MS, entryMs: KNOWN_MS };
  }

  /** Of a file. */
  get content(): MemoryContent {
    return (this.#content ??= new MemoryContent());
  }

  /** Of a directory. */
  get children(): Map<string, MemoryInode> {
    return (this.#children ??= new Map());
  }

  get xattrs(): Map<string, Uint8Array> {
    return (this.#xattrs ??= new Map());
  }

  get isDirectory(): boolean {
    return (this.mode & constants.S_IFMT) === constants.S_IFDIR;
  }

  get sizeBytes(): number {
    return this.#content?.sizeBytes ?? this.target.length;
  }

  get storedBytes(): number {
    return this.#content?.storedBytes ?? 0;
  }

  touchContent(): void {
    this.modified = now();
    this.changed = this.modified;
  }

  touchStatus(): void {
    this.changed = now();
  }

  truncate(sizeBytes: number): void {
    this.content.truncate(sizeBytes);
    this.touchContent();
  }

  /** As a write or a change of owner does. */
  killPrivileges(): void {
    this.mode &= ~SET_USER_ID;
    if ((this.mode & GROUP_EXECUTES) !== 0) this.mode &= ~SET_GROUP_ID;
  }
}

function now(): Timestamp {
  const ms = Date.now();
  const beyondMs = Math.floor((performance.now() * 1e6) % 1e6);
  return { seconds: Math.floor(ms / 1000), nanoseconds: (ms % 1000) * 1e6 + beyondMs };
}

export function timeOf(time: NewTime): Timestamp {
  return time === 'now' ? now() : time;
}

/** Names are bytes; as keys of a map each byte is a character. */
export function keyOf(name: Uint8Array): string {
  return asBuffer(name).toString('latin1');
}

export function nameOf(key: string): Buffer {
  return Buffer.from(key, 'latin1');
}
