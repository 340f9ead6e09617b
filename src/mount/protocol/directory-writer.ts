/**
 * A page of a listing in a reply: one record for each entry, padded to 8 bytes, as many as fit.
 * With entries (READDIRPLUS) each record begins with what LOOKUP would have said of its name; all
 * zeros say nothing of it. Source: struct fuse_dirent, fuse_direntplus of
 * include/uapi/linux/fuse.h.
 */
import { roundUp } from '../../base/index.ts';
import type { DirectoryEntry } from '../inode.ts';
import type { Reply } from './reply.ts';
import { ATTRIBUTES, DIRENT, ENTRY_OUT } from './structs.ts';

const RECORD_ALIGNMENT = 8;
const ENTRY_BYTES = ENTRY_OUT.bytes + ATTRIBUTES.bytes;
const NO_ENTRY = { inode: undefined, entryMs: 0 };
/** From st_mode to the type of a record: the upper four of sixteen bits. */
const TYPE_SHIFT = 12;

export class DirectoryWriter {
  readonly #reply: Reply;
  readonly #end: number;
  readonly #withEntries: boolean;

  constructor(reply: Reply, room: { readonly bytes: number; readonly withEntries: boolean }) {
    this.#reply = reply;
    this.#end = Math.min(reply.length + room.bytes, reply.buffer.length);
    this.#withEntries = room.withEntries;
  }

  /** @returns whether it had room. */
  add(entry: DirectoryEntry): boolean {
    const reply = this.#reply;
    const nameBytes = entry.name.length;
    const recordBytes =
      (this.#withEntries ? ENTRY_BYTES : 0) + roundUp(DIRENT.bytes + nameBytes, RECORD_ALIGNMENT);
    const end = reply.length + recordBytes;
    if (end > this.#end) return false;
    if (this.#withEntries) reply.entry(entry.entry ?? NO_ENTRY);
    reply.add(DIRENT);
    reply.big64(DIRENT.inode, entry.inode);
    reply.u64(DIRENT.cookie, entry.cookie);
    reply.u32(DIRENT.nameBytes, nameBytes);
    reply.u32(DIRENT.type, (entry.mode >>> TYPE_SHIFT) & 0xf);
    reply.bytes(entry.name);
    reply.buffer.fill(0, reply.length, end);
    reply.length = end;
    return true;
  }
}
