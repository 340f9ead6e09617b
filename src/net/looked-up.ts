/**
 * Look-ups of nodes that are not in the table, with the addresses of those that were found: peers
 * can be called then. Of the many, only the latest are remembered.
 */
import { errorMessage, HoldfastError, LIMITS, type NodeId } from '../base/index.ts';
import type { ExchangeParts, GossipExchange } from './gossip-exchange.ts';
import { METHOD, nodeMessage, readRecords } from './gossip-message.ts';
import { lookup } from './lookup.ts';
import type { MemberRecord } from './member-record.ts';
import { viewOf } from './member-table.ts';
import type { MemberView } from './types.ts';

export interface LookedUpParts extends ExchangeParts {
  readonly exchange: GossipExchange;
  isMember(record: MemberRecord): boolean;
}

export class LookedUp {
  readonly #parts: LookedUpParts;
  /** Oldest first. */
  readonly #found = new Set<NodeId>();

  constructor(parts: LookedUpParts) {
    this.#parts = parts;
  }

  /** @throws HF_NOT_FOUND, HF_INTERRUPTED */
  async find(target: NodeId, signal: AbortSignal | undefined): Promise<MemberView> {
    const { env, table, wire } = this.#parts;
    const over = signal ? AbortSignal.any([signal, this.#parts.signal]) : this.#parts.signal;
    const known = table.closest(target, LIMITS.bucketPeers).map(({ record }) => record.node);
    const met = new Set<NodeId>();
    const ask = async (node: NodeId): Promise<ReadonlyMap<NodeId, MemberRecord> | undefined> => {
      const answer = await this.#ask(node, target, over);
      for (const [other, { addresses }] of answer ?? []) {
        met.add(other);
        wire.learn(other, addresses);
      }
      return answer;
    };
    const others = known.filter((node) => node !== wire.self);
    const { found, hops } = await lookup({ target, known: others, ask });
    for (const node of met) if (node !== target) this.#forget(node);
    env.metrics.add('net_lookups', 1);
    env.metrics.add('net_lookup_hops', hops);
    if (!found) throw new HoldfastError('HF_NOT_FOUND', `nobody knows the node ${target}`);
    this.#remember(target);
    return table.view(target) ?? viewOf(found, { health: 'alive', rttMs: undefined });
  }

  async #ask(
    node: NodeId,
    target: NodeId,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<NodeId, MemberRecord> | undefined> {
    const { env, wire } = this.#parts;
    const options = { deadlineMs: LIMITS.probeMsMax, signal };
    try {
      const answer = await wire.call(node, METHOD.find, nodeMessage(target), options);
      const records = readRecords(answer)
        .slice(0, LIMITS.bucketPeers)
        .map((bytes) => this.#proven(bytes))
        .filter((record) => record !== undefined);
      return new Map(records.map((record) => [record.node, record]));
    } catch (error) {
      env.log.debug('no answer to a look-up', { node, why: errorMessage(error) });
      return undefined;
    }
  }

  /** The record, or a better one that is here already. */
  #proven(bytes: Uint8Array): MemberRecord | undefined {
    const { table, rules, exchange, wire } = this.#parts;
    const offered = exchange.offer(bytes);
    if (!offered || offered.record.node === wire.self) return undefined;
    const { record, outcome } = offered;
    const held = table.get(record.node)?.record;
    if (held) return held;
    const isSound = outcome === 'full' && rules.isGenuine(record) && this.#parts.isMember(record);
    return isSound ? record : undefined;
  }

  #remember(node: NodeId): void {
    this.#found.delete(node);
    this.#found.add(node);
    if (this.#found.size <= LIMITS.lookedUpMax) return;
    const [oldest] = this.#found;
    this.#found.delete(oldest!);
    this.#forget(oldest!);
  }

  #forget(node: NodeId): void {
    const { table, wire } = this.#parts;
    if (!table.get(node) && !this.#found.has(node)) wire.learn(node, []);
  }
}
