/** The simplest Membership: those who are connected. For tests, and for nodes that only join. */
import { HoldfastError, type NodeId } from '../base/index.ts';
import type { Ground, Membership, MemberView } from './types.ts';

export async function linkedMembers({ peers }: Ground): Promise<Membership> {
  const member = (node: NodeId): MemberView | undefined => {
    const link = peers.link(node);
    if (link?.verdict !== 'member') return undefined;
    const addresses = peers.addressesOf(node);
    return { node, addresses, incarnation: 0, labels: {}, health: 'alive', rttMs: link.rttMs };
  };
  return {
    members: () =>
      peers
        .links()
        .map(({ node }) => member(node))
        .filter((one) => one !== undefined),
    async *watch(options) {
      for await (const { node } of peers.watchLinks(options)) yield { node, member: member(node) };
    },
    async lookup(node) {
      const found = member(node);
      if (!found) throw new HoldfastError('HF_NOT_FOUND', `${node} is not connected`);
      return found;
    },
    async leave() {},
    async [Symbol.asyncDispose]() {},
  };
}
