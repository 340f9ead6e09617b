/**
 * The first exchange: the kernel says what it can, we answer what of it we want. Version 7.31
 * (Linux 5.5) is the oldest that we serve.
 *
 * - `atomicTruncate`: O_TRUNC comes with OPEN, so opening and cutting is one step.
 * - `maxPages`: reads and writes of 1 MiB instead of 128 KiB.
 * - `explicitInvalidation`: cached content is dropped when we say so, not when times look new.
 * - `killPrivileges`: we take set-user-id bits away; the kernel need not ask for a capability
 *   first.
 * - `posixAcl`: the kernel heeds access control lists, which are extended attributes here.
 * - `dontMask`: the umask comes here, since a default list takes its place.
 * - `posixLocks`, `flockLocks`: locks come here instead of staying within this kernel.
 * - `writebackCache`: small writes are gathered; the kernel then owns size and times meanwhile.
 */
import { HoldfastError, LIMITS, MiB } from '../../base/index.ts';
import { INIT_FLAGS, type InitFlag } from '../protocol/flags.ts';
import type { Reply } from '../protocol/reply.ts';
import type { Request } from '../protocol/request.ts';
import { INIT_IN, INIT_IN_EXTENDED, INIT_OUT } from '../protocol/structs.ts';

const MAJOR = 7;
const MINOR_MIN = 31;
/** The newest one whose structs we know. */
const MINOR_MAX = 45;
const PAGE_BYTES = 4096;
/** Reads ahead and writes back that the kernel has under way; its own default is 12. */
const BACKGROUND_MAX = 64;
const CONGESTION_THRESHOLD = 48;
/** Nanoseconds. */
const TIME_GRANULARITY = 1;

export interface Wishes {
  readonly writebackCache: boolean;
  readonly locks: boolean;
  readonly acls?: boolean;
}

/** What both sides can do. */
export interface Agreement {
  readonly minor: number;
  readonly flags: ReadonlySet<InitFlag>;
  /** Of one WRITE, and of one READ. */
  readonly dataBytesMax: number;
}

/** Another INIT is to come when the kernel's version is above ours. */
export type Negotiation = Agreement | 'again';

/** Reads INIT, and puts the answer into `reply`. @throws HF_UNSUPPORTED for an old kernel. */
export function negotiate(request: Request, reply: Reply, wishes: Wishes): Negotiation {
  request.expect(INIT_IN);
  const major = request.u32(INIT_IN.major);
  const minor = request.u32(INIT_IN.minor);
  reply.add(INIT_OUT);
  reply.u32(INIT_OUT.major, MAJOR);
  reply.u32(INIT_OUT.minor, Math.min(minor, MINOR_MAX));
  if (major > MAJOR) return 'again';
  if (major < MAJOR || minor < MINOR_MIN) throw tooOld(major, minor);
  const flags = wanted(wishes).intersection(offered(request));
  const dataBytesMax = flags.has('maxPages') ? LIMITS.mountDataBytesMax : MiB / 8;
  reply.u32(INIT_OUT.readaheadBytesMax, request.u32(INIT_IN.readaheadBytesMax));
  reply.u16(INIT_OUT.backgroundMax, BACKGROUND_MAX);
  reply.u16(INIT_OUT.congestionThreshold, CONGESTION_THRESHOLD);
  reply.u32(INIT_OUT.writeBytesMax, dataBytesMax);
  reply.u32(INIT_OUT.timeGranularity, TIME_GRANULARITY);
  reply.u16(INIT_OUT.pagesMax, dataBytesMax / PAGE_BYTES);
  putFlags(reply, flags);
  return { minor: Math.min(minor, MINOR_MAX), flags, dataBytesMax };
}

function wanted({ writebackCache, locks, acls = false }: Wishes): Set<InitFlag> {
  const flags = new Set(Object.keys(INIT_FLAGS) as InitFlag[]);
  if (!writebackCache) flags.delete('writebackCache');
  if (!locks) {
    flags.delete('posixLocks');
    flags.delete('flockLocks');
  }
  if (!acls) {
    flags.delete('posixAcl');
    flags.delete('dontMask');
  }
  return flags;
}

function offered(request: Request): Set<InitFlag> {
  const low = request.u32(INIT_IN.flags);
  const isExtended = (low & (1 << INIT_FLAGS.extendedInit)) !== 0;
  if (isExtended) request.expect(INIT_IN_EXTENDED);
  const words = [low, isExtended ? request.u32(INIT_IN_EXTENDED.flags2) : 0];
  const names = Object.entries(INIT_FLAGS) as [InitFlag, number][];
  return new Set(
    names.filter(([, bit]) => (words[bit >>> 5]! & (1 << (bit % 32))) !== 0).map(([name]) => name),
  );
}

function putFlags(reply: Reply, flags: ReadonlySet<InitFlag>): void {
  const words = [0, 0];
  for (const flag of flags) {
    const bit = INIT_FLAGS[flag];
    words[bit >>> 5]! |= 1 << (bit % 32);
  }
  reply.u32(INIT_OUT.flags, words[0]!);
  reply.u32(INIT_OUT.flags2, words[1]!);
}

function tooOld(major: number, minor: number): HoldfastError {
  const needed = `${MAJOR}.${MINOR_MIN} is needed (Linux 5.5)`;
  const message = `the kernel speaks FUSE ${major}.${minor}; ${needed}`;
  return new HoldfastError('HF_UNSUPPORTED', message);
}
