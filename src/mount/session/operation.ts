/**
 * An *operation*: how one opcode becomes one call of the file system, and what it answers becomes a
 * reply. The files `*-operations.ts` are the table of all of them.
 */
import type { Answer, FileSystem } from '../file-system.ts';
import type { Reply } from '../protocol/reply.ts';
import type { Request } from '../protocol/request.ts';
import type { Agreement } from './negotiate.ts';
import type { Task } from './task.ts';

/** What an operation works with. */
export interface Work {
  readonly fileSystem: FileSystem;
  readonly request: Request;
  readonly caller: Task;
  readonly agreement: Agreement;
}

export interface Operation<Result = unknown> {
  /** What follows the header. */
  readonly struct: { readonly bytes: number };
  /** Asks the file system. Views of the request are lent to it. */
  perform(work: Work): Answer<Result>;
  /** Puts the answer into the reply; left out when there is nothing to say but "done". */
  reply?(reply: Reply, result: Result, work: Work): void;
  /**
   * Nobody got the answer: takes back what only the caller could have ended. Of the request only
   * the header is there by then.
   */
  undo?(result: Result, work: Work): Answer<void>;
  /** See {@link Task.waits}. The request is not read after `perform` has returned. */
  readonly waits?: boolean;
  /** Whether this file system has it; ENOSYS else, and the kernel does without from then on. */
  isOffered?(fileSystem: FileSystem): boolean;
}

/** Keeps the type of the result between the parts. */
export function operation<Result>(parts: Operation<Result>): Operation {
  return parts;
}

/** What is left to take off a mode: else the kernel has done so. */
export function umaskOf({ flags }: Agreement, umask: number): number {
  return flags.has('dontMask') ? umask : 0;
}
