/**
 * Who ought to be the steward of a cell, as one of its members sees it: the first member, in the
 * order of the record, that is there and able. A pure function; whoever errs is fenced by the log,
 * so the rules are about being served soon, not about safety.
 */
import type { NodeId } from '../../base/index.ts';
import type { Lsn } from '../../log/index.ts';

/** What is known of a node that may carry the cell. */
export interface Sight {
  /**
   * `unable`: it is there and could not take over. `absent`: it is there and does not carry the
   * cell (yet). `silent`: it does not answer. `unasked`: it has not had the time to answer.
   */
  readonly state: 'steward' | 'replica' | 'unable' | 'absent' | 'silent' | 'unasked';
  /** Of a steward; 0 else. */
  readonly epoch: number;
  /** How far its rows have come. */
  readonly lsn: Lsn;
  /** How long it has been there without a break. */
  readonly steadyMs: number;
}

export interface Standing {
  readonly self: NodeId;
  /** In the order of the record; this node may not be among them any more. */
  readonly members: readonly NodeId[];
  /** Of all other nodes that may carry the cell. */
  readonly sights: ReadonlyMap<NodeId, Sight>;
  /** Of this node. */
  readonly role: 'steward' | 'replica';
  readonly epoch: number;
  readonly lsn: Lsn;
  /** How long it has carried the cell. */
  readonly carriedMs: number;
  /** How long it has reached log and registry without a break. */
  readonly reachedMs: number;
  /**
   * When another one took the cell from it last; `undefined` when that does not matter any more.
   */
  readonly loss: Loss | undefined;
}

/** The cell was taken by another node. */
export interface Loss {
  readonly agoMs: number;
  /** How often it happened in short order. */
  readonly count: number;
}

export type Decision =
  | { readonly act: 'stay' }
  | { readonly act: 'take-over' }
  /** Another one says that it is the steward, by a newer epoch: ask the log. */
  | { readonly act: 'look' }
  | { readonly act: 'hand-over'; readonly to: NodeId };

/** Somebody who goes before must have been there for so long: a node that comes and goes waits. */
export const STEADY_MS = 3000;
/** By then all members have read that the cell is theirs. */
const ARRIVAL_MS = 5000;
/** Entries that who takes over may have to read first. */
const LAG_MAX = 1000;

/**
 * Who says that it cannot reach the log is not followed sooner: when the log was away for all, the
 * steward of before goes on.
 */
export const REACHED_MS = 1500;
/**
 * Who took a cell is there, heard or not: two that do not hear each other would take it in turns.
 * Each loss doubles the pause; who hears no majority of the members leaves it to those that do.
 */
const LOSS_PAUSE_MS = 1000;
const LOSS_PAUSE_MS_MAX = 64_000;
const MINORITY_PAUSE_MS = 30_000;
const MINORITY_PAUSE_MS_MAX = 480_000;

const STAY: Decision = { act: 'stay' };

export function decide(standing: Standing): Decision {
  const { self, members, sights, role, carriedMs } = standing;
  const others = members.filter((member) => member !== self);
  if (role === 'steward') return decideAsSteward(standing, others);
  if (!members.includes(self)) return STAY;
  for (const { state } of sights.values()) if (state === 'steward') return STAY;
  if (others.some((member) => sights.get(member)?.state === 'unasked')) return STAY;
  if (isWary(standing, others)) return STAY;
  const before = members.slice(0, members.indexOf(self));
  const isFirst = !before.some((member) => {
    const state = sights.get(member)?.state;
    return state === 'replica' || (state === 'absent' && carriedMs < ARRIVAL_MS);
  });
  return isFirst ? { act: 'take-over' } : STAY;
}

/** Whether it leaves the cell to another one although it sees none. */
function isWary(
  { members, sights, reachedMs, loss }: Standing,
  others: readonly NodeId[],
): boolean {
  const states = others.map((member) => sights.get(member)?.state);
  if (reachedMs < REACHED_MS && states.includes('unable')) return true;
  if (!loss) return false;
  const heard = 1 + states.filter((state) => state !== 'silent').length;
  const [first, most] =
    2 * heard > members.length
      ? [LOSS_PAUSE_MS, LOSS_PAUSE_MS_MAX]
      : [MINORITY_PAUSE_MS, MINORITY_PAUSE_MS_MAX];
  return loss.agoMs < Math.min(first * 2 ** (loss.count - 1), most);
}

function decideAsSteward(
  { self, members, sights, epoch, lsn }: Standing,
  others: readonly NodeId[],
): Decision {
  for (const sight of sights.values()) {
    if (sight.state === 'steward' && sight.epoch > epoch) return { act: 'look' };
  }
  const isMember = members.includes(self);
  const candidates = isMember ? members.slice(0, members.indexOf(self)) : others;
  const to = candidates.find((member) => {
    const sight = sights.get(member);
    const isReady = sight?.state === 'replica' && sight.steadyMs >= STEADY_MS;
    return isReady && sight.lsn + LAG_MAX >= lsn;
  });
  return to === undefined ? STAY : { act: 'hand-over', to };
}
