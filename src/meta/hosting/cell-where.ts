/** Where a cell is and how it stands: what `holdfast meta where` shows. */
import * as v from 'valibot';
import type { NodeId } from '../../base/index.ts';
import type { CellId } from '../../log/index.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import type { CellView } from '../cells/cell.ts';
import { whole, wholeUpTo } from '../remote/cell-methods.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import { nodeId } from './hosting-wire.ts';

/** What its steward says of a cell. */
export interface CellStanding {
  readonly steward: NodeId;
  readonly epoch: number;
  readonly lsn: number;
  /** As the cell itself knows them. */
  readonly slots: SlotRange;
  readonly intentCount: number;
  readonly transactionCount: number;
  /** How far the rows of the other members have come, of those that were heard. */
  readonly followers: readonly Follower[];
}

export interface Follower {
  readonly node: NodeId;
  readonly lsn: number;
}

export interface CellWhere {
  readonly space: string;
  readonly cell: CellId;
  /** As the cell map has them. */
  readonly slots: SlotRange;
  readonly members: readonly NodeId[];
  /** Slots that it is to hand to another cell. */
  readonly outgoing: (SlotRange & { readonly target: CellId }) | undefined;
  /** `undefined` when no steward answers. */
  readonly standing: CellStanding | undefined;
}

export const cellStanding: v.GenericSchema<unknown, CellStanding> = v.object({
  steward: nodeId,
  epoch: whole,
  lsn: whole,
  slots: v.object({ from: wholeUpTo(SLOT_COUNT), to: wholeUpTo(SLOT_COUNT) }),
  intentCount: whole,
  transactionCount: whole,
  followers: v.array(v.object({ node: nodeId, lsn: whole })),
});

export function standingOf(
  steward: NodeId,
  view: CellView,
  followers: readonly Follower[],
): CellStanding {
  const { epoch, lsn, slots, intentCount, transactionCount } = view;
  const { from, to } = slots;
  return { steward, epoch, lsn, slots: { from, to }, intentCount, transactionCount, followers };
}
