/**
 * What a check finds: each piece of damage with the place on the device, so that it can be compared
 * with what a disk reports, and whether anything is lost by it.
 */
import type { ChunkId, ClusterId, DeviceId } from '../base/index.ts';
import type { Extent } from './allocator.ts';
import { BLOCK_BYTES } from './geometry.ts';
import type { Superblock } from './superblock.ts';

export type CheckPlace =
  | 'superblock'
  | 'journal'
  | 'directory'
  | 'index'
  | 'bitmap'
  | 'chunk'
  /** Blocks that two chunks claim, and counts that do not agree. */
  | 'space';

/** Where on the device. */
export interface DeviceRange {
  /** First block. */
  readonly block: number;
  readonly blocks: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface CheckFinding {
  readonly where: CheckPlace;
  readonly ranges: readonly DeviceRange[];
  /** One line. */
  readonly what: string;
  /** Nothing is lost: another copy is good, or the content follows from something else. */
  readonly isMended: boolean;
  readonly chunkId?: ChunkId | undefined;
  /** Number of the 64 KiB page of the chunk; none when the footer or the whole chunk is meant. */
  readonly page?: number | undefined;
}

export interface CheckTotals {
  readonly superblocks: number;
  readonly journalBatches: number;
  /** Of directory, maps and pages, both copies. */
  readonly indexBlocks: number;
  readonly bitmapBlocks: number;
  readonly chunks: number;
  /** Chunks that are marked bad, or that this check found bad. */
  readonly badChunks: number;
  readonly chunkBytes: number;
}

export interface CheckReport {
  readonly deviceName: string;
  /** Unless no superblock copy is good. */
  readonly id: DeviceId | undefined;
  readonly clusterId: ClusterId | undefined;
  readonly label: string;
  /** It was closed, not cut off. */
  readonly isClean: boolean;
  /** Why the store cannot be opened; then only superblocks and index were looked at. */
  readonly mountError: string | undefined;
  readonly findings: readonly CheckFinding[];
  /** Findings beyond those listed. */
  readonly unlistedCount: number;
  /** What is no damage but may be of interest, e.g. a batch that a power cut has torn. */
  readonly notes: readonly string[];
  readonly totals: CheckTotals;
}

/** A device that lost its index may have a finding for each chunk; nobody reads more than these. */
const FINDINGS_MAX = 10_000;

export function rangesOf(extents: readonly Extent[]): DeviceRange[] {
  return extents.map(({ start, blocks }) => ({
    block: start,
    blocks,
    offsetBytes: start * BLOCK_BYTES,
    lengthBytes: blocks * BLOCK_BYTES,
  }));
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

/** Collects what a check finds. */
export class CheckReporter {
  readonly totals: Mutable<CheckTotals> = {
    superblocks: 0,
    journalBatches: 0,
    indexBlocks: 0,
    bitmapBlocks: 0,
    chunks: 0,
    badChunks: 0,
    chunkBytes: 0,
  };
  readonly #deviceName: string;
  readonly #findings: CheckFinding[] = [];
  readonly #notes: string[] = [];
  #unlistedCount = 0;
  mountError: string | undefined;

  constructor(deviceName: string) {
    this.#deviceName = deviceName;
  }

  get hasFindings(): boolean {
    return this.#findings.length > 0;
  }

  find(
    where: CheckPlace,
    extents: readonly Extent[],
    finding: Omit<CheckFinding, 'where' | 'ranges'>,
  ): void {
    if (this.#findings.length === FINDINGS_MAX) this.#unlistedCount += 1;
    else this.#findings.push({ where, ranges: rangesOf(extents), ...finding });
  }

  note(line: string): void {
    if (this.#notes.length < FINDINGS_MAX) this.#notes.push(line);
  }

  finish(superblock: Superblock | undefined): CheckReport {
    return {
      deviceName: this.#deviceName,
      id: superblock?.id,
      clusterId: superblock?.clusterId,
      label: superblock?.label ?? '',
      isClean: superblock?.isClean ?? false,
      mountError: this.mountError,
      findings: this.#findings,
      unlistedCount: this.#unlistedCount,
      notes: this.#notes,
      totals: this.totals,
    };
  }
}
