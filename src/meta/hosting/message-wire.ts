/**
 * What cells of one space ask of each other ({@link CellMessages}) as it travels. What comes is
 * checked for shape: the other cell may be of another release, and its node may lie.
 */
import * as v from 'valibot';
import type { CellMessages } from '../cells/cell-peers.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import { bytes, checked, whole, wholeUpTo } from '../remote/cell-methods.ts';

/** Of one message; pages of rows and changes of one operation stay far below. */
const ITEMS_MAX = 100_000;

const row = v.object({ key: bytes, value: bytes });
const rows = v.pipe(v.array(row), v.maxLength(ITEMS_MAX));
const change = v.object({ key: bytes, value: v.undefinedable(bytes) });
const range = v.object({
  from: bytes,
  to: bytes,
  limit: v.optional(whole),
  isReverse: v.optional(v.boolean()),
});
const digest = v.bigint();
const rangeRead = v.object({ from: bytes, to: bytes, digest });
const txid = v.object({ cell: v.string(), epoch: whole, number: whole });
const slots = v.object({ from: wholeUpTo(SLOT_COUNT), to: wholeUpTo(SLOT_COUNT) });
const ofMove = {
  move: v.object({ source: v.string(), number: whole }),
  attempt: whole,
};

type Messages = {
  readonly [Name in keyof CellMessages]: {
    readonly isChange: boolean;
    readonly request: v.GenericSchema<unknown, Parameters<CellMessages[Name]>[0]>;
    readonly answer: v.GenericSchema<unknown, Awaited<ReturnType<CellMessages[Name]>>>;
  };
};

export type MessageName = keyof CellMessages;

export const CELL_MESSAGES: Messages = {
  readRows: {
    isChange: false,
    request: v.object({ ranges: v.pipe(v.array(range), v.maxLength(ITEMS_MAX)) }),
    answer: v.array(rows),
  },
  prepare: {
    isChange: true,
    request: v.object({
      txid,
      reads: v.pipe(v.array(rangeRead), v.maxLength(ITEMS_MAX)),
      changes: v.pipe(v.array(change), v.maxLength(ITEMS_MAX)),
    }),
    answer: v.union([v.literal('busy'), v.object({ token: bytes })]),
  },
  apply: { isChange: true, request: v.object({ txid, token: bytes }), answer: v.void() },
  abort: { isChange: true, request: v.object({ txid }), answer: v.void() },
  status: {
    isChange: false,
    request: v.object({ txid, participant: v.string() }),
    answer: v.variant('state', [
      v.object({ state: v.picklist(['aborted', 'pending']) }),
      v.object({ state: v.literal('committed'), token: bytes }),
    ]),
  },
  adopt: {
    isChange: true,
    request: v.variant('step', [
      v.object({ ...ofMove, step: v.literal('begin'), slots, shared: rows }),
      v.object({ ...ofMove, step: v.literal('rows'), index: whole, rows }),
      v.object({ ...ofMove, step: v.literal('end'), rowCount: whole, digest }),
      v.object({ ...ofMove, step: v.literal('cancel'), slots }),
    ]),
    answer: v.variant('state', [
      v.object({ state: v.literal('more'), index: whole }),
      v.object({ state: v.literal('done') }),
    ]),
  },
};

export const MESSAGE_NAMES: readonly MessageName[] = Object.keys(CELL_MESSAGES) as MessageName[];

/** A message; a try that gets no answer is the asking cell's affair. */
export const MESSAGE_MS = 3000;

/** @throws HF_BAD_ARGUMENT. */
export function checkMessage(name: MessageName, request: unknown): never {
  return checked(CELL_MESSAGES[name].request as v.GenericSchema, request) as never;
}

/** @throws HF_BAD_ARGUMENT. */
export function checkAnswer(name: MessageName, answer: unknown): unknown {
  return checked(CELL_MESSAGES[name].answer as v.GenericSchema, answer);
}
