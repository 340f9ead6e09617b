/**
 * A mount whose file system lives in another thread than the one that reads from the kernel: what
 * the two threads tell each other. The *reader* asks, the *host* answers.
 *
 * The host must not forget an inode number that it has just given in an answer which the kernel has
 * not seen yet. So the reader says with each `forget` how many answers it had seen by then.
 */
import type { ErrorCode } from '../../base/index.ts';
import type { Caller, FileSystem } from '../file-system.ts';
import type { InodeNumber } from '../inode.ts';

/** Of {@link FileSystem} what is asked and answered. */
export const RELAYED = [
  'lookup',
  'getAttributes',
  'setAttributes',
  'makeNode',
  'makeDirectory',
  'makeSymlink',
  'readSymlink',
  'link',
  'unlink',
  'removeDirectory',
  'rename',
  'open',
  'create',
  'createUnnamed',
  'read',
  'write',
  'flush',
  'release',
  'sync',
  'allocate',
  'seek',
  'copy',
  'openDirectory',
  'list',
  'releaseDirectory',
  'syncDirectory',
  'getXattr',
  'setXattr',
  'listXattrs',
  'removeXattr',
  'statistics',
  'syncAll',
] as const satisfies readonly (keyof FileSystem)[];

export type RelayedMethod = (typeof RELAYED)[number];

/** A file system that has all of them. */
export type RelayedFileSystem = Pick<Required<FileSystem>, RelayedMethod | 'forget'>;

/** Who asks; without a signal, for what was begun goes on. */
export type RelayedCaller = Omit<Caller, 'signal'>;

export type ReaderMessage =
  | {
      readonly relay: 'ask';
      readonly id: number;
      readonly method: RelayedMethod;
      readonly caller: RelayedCaller;
      /** What comes after the caller. */
      readonly words: readonly unknown[];
    }
  | { readonly relay: 'forget'; readonly inode: InodeNumber; readonly answersSeen: number }
  | {
      readonly relay: 'log';
      readonly level: 'warn' | 'error';
      readonly message: string;
      readonly reason: string;
    };

export type HostMessage =
  /** The host listens: what was asked before may be sent. */
  | { readonly relay: 'begin' }
  | { readonly relay: 'answer'; readonly id: number; readonly result: unknown }
  | {
      readonly relay: 'error';
      readonly id: number;
      readonly code: ErrorCode;
      readonly message: string;
    };

/** Bytes worth a hand-over instead of a copy. */
export const HANDED_BYTES_MIN = 4096;

/** Messages of others go by the same port. */
export function isRelayed(message: unknown): boolean {
  return typeof message === 'object' && message !== null && 'relay' in message;
}
