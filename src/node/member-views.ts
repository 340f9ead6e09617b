/** The members of the cluster as gossip shows them to the parts of a node. */
import type { NodeId } from '../base/index.ts';
import type { MemberView, Network } from '../net/index.ts';

/** Whether gossip takes the node for alive, or suspects it. */
export function isThere({ health }: Pick<MemberView, 'health'>): boolean {
  return health === 'alive' || health === 'suspect';
}

/** None without a network. */
export function membersById(
  network: Pick<Network, 'members'> | undefined,
): ReadonlyMap<NodeId, MemberView> {
  return new Map(network?.members().map((member) => [member.node, member]));
}
