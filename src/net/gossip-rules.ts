/**
 * The rules that keep false word out of the member table, in one place, so that a test can break
 * one at a time and show that it is missed.
 */
import { isGenuine, type MemberRecord } from './member-record.ts';
import { HEALTHS } from './gossip-message.ts';
import type { Health } from './types.ts';

/** What decides between two statements about one node. */
export interface Standing {
  readonly incarnation: number;
  readonly health: Health;
}

export interface GossipRules {
  /** Whether the node that a record names has signed it. */
  isGenuine(record: MemberRecord): boolean;
  /** Whether what is told replaces what is known. */
  isNewer(told: Standing, known: Standing): boolean;
  /** The incarnation with which a node contradicts what is told of it; undefined: it need not. */
  refutation(own: Standing, told: Standing): number | undefined;
}

export const GOSSIP_RULES: GossipRules = {
  isGenuine,
  isNewer(told, known) {
    if (told.incarnation !== known.incarnation) return told.incarnation > known.incarnation;
    return HEALTHS.indexOf(told.health) > HEALTHS.indexOf(known.health);
  },
  refutation(own, told) {
    return GOSSIP_RULES.isNewer(told, own) ? told.incarnation + 1 : undefined;
  },
};
