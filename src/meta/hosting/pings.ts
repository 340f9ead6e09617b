/**
 * Whether the nodes that carry cells together with this one are there, and as what: each is asked
 * every half second, and what gossip says of it is heard too. A node is *silent* when it has not
 * answered for {@link SILENT_MS}, a little longer where gossip holds it alive; it is believed dead
 * at once when gossip says so and it did not answer the last time. What a node that is *cut* from
 * the log says of its cells is worth nothing.
 */
import { errorCode, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import { callForBytes, type CellId } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import { HOSTING_SERVICE } from './hosting-wire.ts';
import { type CarriedState, decodePong, encodePing, type Pong } from './ping-wire.ts';
import type { Sight } from './stewardship-rules.ts';

const PING_MS = 500;
const PING_DEADLINE_MS = 1000;
export const SILENT_MS = 2500;
/** Others hear it: a moment longer, for then it is the way to it that is bad. */
const SILENT_TO_US_MS = 3000;
/** Cells that are kept of a node; it carries far fewer. */
const CELLS_MAX = 400_000;

interface Peer {
  isAsked: boolean;
  askedAtMs: number;
  /** Since when it has answered every time. */
  steadySinceMs: number;
  /** `undefined`: it never did. */
  heardAtMs: number | undefined;
  hasFailed: boolean;
  isCut: boolean;
  /** Of its run: up to where it has told. */
  run: string;
  at: number;
  readonly carried: Map<CellId, CarriedState>;
}

export interface PingsOptions {
  readonly env: Env;
  readonly network: Pick<Network, 'call' | 'open' | 'members'>;
}

export class Pings {
  readonly #options: PingsOptions;
  readonly #peers = new Map<NodeId, Peer>();

  constructor(options: PingsOptions) {
    this.#options = options;
  }

  /** Asks these nodes, those whose turn it is, and forgets all others. Does not wait. */
  ask(nodes: ReadonlySet<NodeId>): void {
    const nowMs = this.#now();
    for (const node of this.#peers.keys()) if (!nodes.has(node)) this.#peers.delete(node);
    for (const node of nodes) {
      let peer = this.#peers.get(node);
      if (!peer) this.#peers.set(node, (peer = newPeer()));
      if (peer.isAsked || nowMs - peer.askedAtMs < PING_MS) continue;
      peer.askedAtMs = nowMs;
      void this.#ask(node, peer);
    }
  }

  /** Nodes that say they are steward of a cell, and were heard. */
  stewards(cell: CellId): NodeId[] {
    const found: NodeId[] = [];
    for (const [node, { carried }] of this.#peers) {
      if (carried.get(cell)?.role !== 'steward') continue;
      if (this.sight(node, cell).state === 'steward') found.push(node);
    }
    return found;
  }

  /** The newest of them. */
  steward(cell: CellId): NodeId | undefined {
    const all = this.stewards(cell);
    if (all.length < 2) return all[0];
    const epoch = (node: NodeId): number => this.sight(node, cell).epoch;
    return all.toSorted((a, b) => epoch(b) - epoch(a))[0];
  }

  /** Whom to ask for the cell: the newest of them, unless it did not answer the last time. */
  hint(cell: CellId): NodeId | undefined {
    const steward = this.steward(cell);
    return steward !== undefined && !this.#peers.get(steward)?.hasFailed ? steward : undefined;
  }

  sight(node: NodeId, cell: CellId): Sight {
    const peer = this.#peers.get(node);
    if (!peer || (peer.heardAtMs === undefined && !peer.hasFailed)) return NOT_ASKED;
    if (this.#isSilent(node, peer)) return SILENT;
    const steadyMs = this.#now() - peer.steadySinceMs;
    const carried = peer.carried.get(cell);
    if (!carried) return { ...NOT_CARRIED, steadyMs };
    if (peer.isCut) return { ...carried, state: 'unable', steadyMs: 0 };
    return { state: carried.role, epoch: carried.epoch, lsn: carried.lsn, steadyMs };
  }

  #isSilent(node: NodeId, { heardAtMs, hasFailed }: Peer): boolean {
    if (!hasFailed) return false;
    if (heardAtMs === undefined) return true;
    const { network } = this.#options;
    const health = network.members().find((member) => member.node === node)?.health;
    if (health === 'dead' || health === 'left') return true;
    const silentMs = this.#now() - heardAtMs;
    return silentMs >= (health === 'alive' ? SILENT_TO_US_MS : SILENT_MS);
  }

  async #ask(node: NodeId, peer: Peer): Promise<void> {
    peer.isAsked = true;
    try {
      const method = `${HOSTING_SERVICE}/ping`;
      const call = { node, method, arg: encodePing(peer), deadlineMs: PING_DEADLINE_MS };
      const pong = decodePong(await callForBytes(this.#options.network, call));
      const nowMs = this.#now();
      const wasThere = !peer.hasFailed && peer.heardAtMs !== undefined && !peer.isCut;
      if (!wasThere || pong.isCut) peer.steadySinceMs = nowMs;
      hear(peer, pong);
      peer.heardAtMs = nowMs;
      peer.hasFailed = false;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      peer.hasFailed = true;
    } finally {
      peer.isAsked = false;
    }
  }

  #now(): number {
    return this.#options.env.clock.monotonic();
  }
}

const NOT_ASKED: Sight = { state: 'unasked', epoch: 0, lsn: 0, steadyMs: 0 };
const SILENT: Sight = { state: 'silent', epoch: 0, lsn: 0, steadyMs: 0 };
const NOT_CARRIED = { state: 'absent', epoch: 0, lsn: 0 } as const;

function newPeer(): Peer {
  return {
    isAsked: false,
    askedAtMs: -Infinity,
    steadySinceMs: 0,
    heardAtMs: undefined,
    hasFailed: false,
    isCut: false,
    run: '',
    at: 0,
    carried: new Map(),
  };
}

function hear(peer: Peer, { run, at, isCut, isWhole, cells }: Pong): void {
  peer.isCut = isCut;
  peer.run = run;
  peer.at = at;
  if (isWhole || peer.carried.size > CELLS_MAX) peer.carried.clear();
  for (const state of cells) peer.carried.set(state.cell, state);
}
