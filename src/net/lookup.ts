/**
 * Finds the record of a node that is not in the table: asks the known node closest to it for those
 * that it knows closer, and so on. A *hop* is one round of questions; each at least halves the
 * distance while buckets are filled, so log2 N hops do. Several are asked at once, so that a dead
 * one costs no time.
 * Source: Maymounkov and Mazières 2002 (Kademlia), section 2.3.
 */
import { LIMITS, type NodeId } from '../base/index.ts';
import { byDistanceTo } from './buckets.ts';

export interface LookupOptions<Found> {
  readonly target: NodeId;
  /** Where to begin. */
  readonly known: readonly NodeId[];
  /** Whom that node knows closest to the target; undefined when it does not answer. */
  ask(node: NodeId): Promise<ReadonlyMap<NodeId, Found> | undefined>;
}

export interface LookupResult<Found> {
  readonly found: Found | undefined;
  readonly hops: number;
}

/** Ends when the target was named, or everybody among the closest was asked. */
export async function lookup<Found>(options: LookupOptions<Found>): Promise<LookupResult<Found>> {
  const { target, known } = options;
  const order = byDistanceTo(target);
  const asked = new Set<NodeId>();
  const mute = new Set<NodeId>();
  let shortlist = known.toSorted(order).slice(0, LIMITS.bucketPeers);
  for (let hops = 1; hops <= LIMITS.lookupHopsMax; hops++) {
    const next = shortlist.filter((node) => !asked.has(node)).slice(0, LIMITS.lookupQuestionsMax);
    if (next.length === 0) return { found: undefined, hops: hops - 1 };
    for (const node of next) asked.add(node);
    // At most LIMITS.lookupQuestionsMax at once.
    const answers = await Promise.all(next.map((node) => options.ask(node)));
    const closer = new Set(shortlist);
    for (const [index, answer] of answers.entries()) {
      const found = answer?.get(target);
      if (found !== undefined) return { found, hops };
      // Those that have answered stay in the list: they mark how close we are.
      if (!answer) mute.add(next[index]!);
      for (const node of answer?.keys() ?? []) closer.add(node);
    }
    const heard = [...closer].filter((node) => !mute.has(node));
    shortlist = heard.toSorted(order).slice(0, LIMITS.bucketPeers);
  }
  return { found: undefined, hops: LIMITS.lookupHopsMax };
}
