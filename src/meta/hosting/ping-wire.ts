/**
 * Pings: what nodes that carry cells ask of each other, again and again. An answer tells of the
 * cells whose state has changed since the answer that the asker had last, so that it costs as much
 * as there is to tell, however many cells there are.
 */
import * as v from 'valibot';
import type { CellId, Lsn } from '../../log/index.ts';
import { checked, whole } from '../remote/cell-methods.ts';
import { decodeValue, encodeValue } from '../remote/wire-value.ts';

/** A cell as a node says that it carries it. */
export interface CarriedState {
  readonly cell: CellId;
  readonly role: 'steward' | 'replica' | 'unable';
  readonly epoch: number;
  readonly lsn: Lsn;
}

/** What the asker knows: the run of the node, and up to which of its moments. */
export interface Ping {
  readonly run: string;
  readonly at: number;
}

export interface Pong extends Ping {
  /** It does not reach log and registry: it is steward of nothing, whatever it believes. */
  readonly isCut: boolean;
  /** What is not told is not carried; else it is as it was. */
  readonly isWhole: boolean;
  readonly cells: readonly CarriedState[];
}

/** Of one answer; a node carries far fewer. */
const CELLS_MAX = 200_000;

const ping = v.object({ run: v.string(), at: whole });
const carried = v.object({
  cell: v.string(),
  role: v.picklist(['steward', 'replica', 'unable']),
  epoch: whole,
  lsn: whole,
});
const pong = v.object({
  ...ping.entries,
  isCut: v.boolean(),
  isWhole: v.boolean(),
  cells: v.pipe(v.array(carried), v.maxLength(CELLS_MAX)),
});

/** Of a node that does not carry anything yet. */
const NOTHING: Pong = { run: '', at: 0, isCut: true, isWhole: true, cells: [] };

export function encodePing(value: Ping): Uint8Array {
  return encodeValue({ run: value.run, at: value.at });
}

/** @throws HF_BAD_ARGUMENT. */
export function decodePing(bytes: Uint8Array): Ping {
  return checked(ping, decodeValue(bytes));
}

export function encodePong(value: Pong = NOTHING): Uint8Array {
  return encodeValue(value);
}

/** @throws HF_BAD_ARGUMENT. */
export function decodePong(bytes: Uint8Array): Pong {
  return checked(pong, decodeValue(bytes));
}
