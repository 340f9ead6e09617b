/** What one node asks another about the ring, with the answers checked; itself it asks directly. */
import * as v from 'valibot';
import { mapBounded, type NodeId } from '../../base/index.ts';
import type { Network } from '../../net/index.ts';
import { lookAtNamed, type NamedMember } from './named-look.ts';
import type { RingStatus } from './own-etcd.ts';
import type { RingAbility, RingPart } from './ring-part.ts';
import { RING_SEATS_MAX, type RingRecord } from './ring-record.ts';

/** A node asks its own etcd before it answers. */
const STATUS_MS = 2500;
/** It may measure its disk first. */
const ABILITY_MS = 10_000;

const Count = v.pipe(v.number(), v.minValue(0));
const Etcd = v.object({
  id: v.string(),
  leader: v.string(),
  version: v.string(),
  dbBytes: Count,
  dbBytesInUse: Count,
  raftIndex: Count,
  raftAppliedIndex: Count,
  raftTerm: Count,
  isLearner: v.boolean(),
  errors: v.array(v.string()),
});
const Status = v.object({
  state: v.picklist(['none', 'running', 'waiting', 'lost', 'failed']),
  restartCount: Count,
  etcd: v.optional(Etcd),
  reason: v.optional(v.string()),
});
const Ability = v.object({ hasEtcd: v.boolean(), fsyncMs: Count });

/** The ring as one node sees it. */
export interface RingView {
  readonly record: RingRecord;
  readonly statuses: ReadonlyMap<NodeId, RingStatus | undefined>;
  /** How the etcd is that the user runs; `undefined` when there is none. */
  readonly named: readonly NamedMember[] | undefined;
}

/** `undefined` while this node knows of no ring. */
export async function ringView(
  part: RingPart,
  network: Pick<Network, 'call'>,
): Promise<RingView | undefined> {
  const { record } = part;
  if (!record) return undefined;
  const named = record.named && (await lookAtNamed(record.named, part.env.clock));
  const asks = ringAsks(part, network);
  const found = await mapBounded(record.members, RING_SEATS_MAX, async ({ node }) => {
    return [node, await asks.status(node)] as const;
  });
  return { record, statuses: new Map(found), named };
}

export interface RingAsks {
  /** `undefined` when it does not answer. */
  status(node: NodeId): Promise<RingStatus | undefined>;
  ability(node: NodeId): Promise<RingAbility | undefined>;
}

export function ringAsks(part: RingPart, network: Pick<Network, 'call'>): RingAsks {
  const ask = async <Answer>(
    node: NodeId,
    method: string,
    { schema, deadlineMs }: { schema: v.GenericSchema<unknown, Answer>; deadlineMs: number },
  ): Promise<Answer | undefined> => {
    const answer = await network.call(node, method, null, { deadlineMs }).catch(() => undefined);
    const checked = v.safeParse(schema, answer);
    return checked.success ? checked.output : undefined;
  };
  return {
    async status(node) {
      if (node === part.self) return await part.status();
      const found = await ask(node, 'ring/status', { schema: Status, deadlineMs: STATUS_MS });
      return found && { ...found, etcd: found.etcd, reason: found.reason };
    },
    async ability(node) {
      if (node === part.self) return await part.ability();
      return await ask(node, 'ring/ability', { schema: Ability, deadlineMs: ABILITY_MS });
    },
  };
}
