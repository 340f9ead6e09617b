/**
 * Access control lists as Linux has them in extended attributes: version u32, then for each entry
 * tag u16, permissions u16, id u32, all little-endian, in the order of their tags. Pure.
 *
 * *Minimal*: says no more than a mode. The nine bits of a mode stand for the entries of the owner,
 * of the mask (or, without one, of the group) and of all others; so here the mode is the truth, and
 * a list that is stored needs no change when the mode is changed: {@link withMode}.
 * Source: Linux, acl(5), include/uapi/linux/posix_acl_xattr.h, fs/posix_acl.c (posix_acl_valid).
 */
import { HoldfastError } from '../../base/index.ts';

export const ACCESS_ACL = 'system.posix_acl_access';
export const DEFAULT_ACL = 'system.posix_acl_default';

export interface AclEntry {
  readonly tag: number;
  /** As three bits of a mode. */
  readonly permissions: number;
  /** Of a named user or group. */
  readonly id: number;
}

/** Valid, and in the order of the tags. */
export type Acl = readonly AclEntry[];

const TAGS = { owner: 1, user: 2, group: 4, namedGroup: 8, mask: 16, others: 32 } as const;
const KNOWN_TAGS: ReadonlySet<number> = new Set(Object.values(TAGS));
const NAMED_TAGS: ReadonlySet<number> = new Set([TAGS.user, TAGS.namedGroup]);
const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const MODE_BITS = 0o777;

/** @returns `undefined` for one without entries, which stands for none. @throws HF_BAD_ARGUMENT. */
export function parseAcl(bytes: Uint8Array): Acl | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entryBytes = bytes.length - HEADER_BYTES;
  check(entryBytes >= 0 && entryBytes % ENTRY_BYTES === 0, 'its length is that of none');
  check(view.getUint32(0, true) === VERSION, 'its version is not known');
  const acl = Array.from({ length: entryBytes / ENTRY_BYTES }, (_, index) => {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    const [tag, permissions] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    return { tag, permissions, id: view.getUint32(at + 4, true) };
  });
  if (acl.length === 0) return undefined;
  checkEntries(acl);
  return acl;
}

function checkEntries(acl: Acl): void {
  for (const [index, { tag, permissions }] of acl.entries()) {
    check(KNOWN_TAGS.has(tag) && permissions <= 7, 'an entry is not known');
    const before = acl[index - 1]?.tag ?? 0;
    const isInOrder = before < tag || (before === tag && NAMED_TAGS.has(tag));
    check(isInOrder, 'its entries are not in order');
  }
  const tags = new Set(acl.map(({ tag }) => tag));
  const hasBase = tags.has(TAGS.owner) && tags.has(TAGS.group) && tags.has(TAGS.others);
  check(hasBase, 'owner, group or all others are missing');
  check(tags.isDisjointFrom(NAMED_TAGS) || tags.has(TAGS.mask), 'its mask is missing');
}

function check(isValid: boolean, reason: string): void {
  if (isValid) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', `an access control list is none: ${reason}`);
}

export function encodeAcl(acl: Acl): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + acl.length * ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, VERSION, true);
  for (const [index, { tag, permissions, id }] of acl.entries()) {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, permissions, true);
    view.setUint32(at + 4, id, true);
  }
  return bytes;
}

export function isMinimal(acl: Acl): boolean {
  return acl.every(({ tag }) => tag !== TAGS.mask && !NAMED_TAGS.has(tag));
}

/** The nine bits that the list stands for. */
export function modeOfAcl(acl: Acl): number {
  return acl.reduce((mode, { tag, permissions }) => {
    const shift = shiftOf(tag, acl);
    return shift === undefined ? mode : mode | (permissions << shift);
  }, 0);
}

/** The list as it is since the mode was changed. */
export function withMode(acl: Acl, mode: number): Acl {
  return acl.map((entry) => {
    const shift = shiftOf(entry.tag, acl);
    return shift === undefined ? entry : { ...entry, permissions: (mode >> shift) & 7 };
  });
}

/** The mode of what is made in a directory with this default list: the umask does not count. */
export function modeUnder(acl: Acl, mode: number): number {
  return mode & (modeOfAcl(acl) | ~MODE_BITS);
}

/** The mode with what the group may do without the list, if that is less. */
export function modeWithoutList(acl: Acl, mode: number): number {
  const group = acl.find(({ tag }) => tag === TAGS.group)?.permissions ?? 0;
  return mode & ((group << 3) | ~0o070);
}

/** Where in a mode an entry stands. */
function shiftOf(tag: number, acl: Acl): number | undefined {
  const hasMask = acl.some((entry) => entry.tag === TAGS.mask);
  if (tag === TAGS.owner) return 6;
  if (tag === (hasMask ? TAGS.mask : TAGS.group)) return 3;
  return tag === TAGS.others ? 0 : undefined;
}
