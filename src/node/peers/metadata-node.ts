/**
 * What makes a node among others a metadata node, from the first moment of its network on and
 * whether its core is open or not: it gets the role, takes part in the ring, and tells others that
 * it may be asked.
 */
import { errorCode, errorMessage, type NodeId } from '../../base/index.ts';
import type { MemberRecord } from '../../cluster/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';
import { whileOpen } from '../core.ts';
import type { Keeper } from '../keeper.ts';
import { membersById } from '../member-views.ts';
import type { Whereabouts } from '../metadata/whereabouts.ts';
import { namedLevels, type NodeConfig } from '../node-config.ts';
import type { RingNodeView } from '../ring/ring-candidates.ts';
import { RingPart } from '../ring/ring-part.ts';
import { majorityOf } from '../ring/ring-plan.ts';
import type { NetworkPart } from './network-part.ts';
import { isMetadataNode, seekRole } from './role-part.ts';

const RETRY_MS = 5000;
const TELL_EVERY_MS = 500;

export interface MetadataNodeOptions {
  readonly env: Env;
  readonly keeper: Keeper;
  readonly whereabouts: Whereabouts;
  readonly part: NetworkPart;
  readonly config: NodeConfig;
  /** That of the core of the moment. */
  readonly registry: Registry;
  /** Of the ring, in the data directory. */
  readonly folder: string;
  /** Path of etcd; `undefined`: none is installed. */
  readonly program: string | undefined;
  /** Whether this node is about to leave. */
  readonly isLeaving: () => boolean;
}

export class MetadataNode implements AsyncDisposable {
  readonly #options: MetadataNodeOptions;
  #ring: RingPart | undefined;
  #run: AsyncDisposable | undefined;

  private constructor(options: MetadataNodeOptions) {
    this.#options = options;
  }

  /** Takes its part in the ring at once when it has the role. */
  static async open(options: MetadataNodeOptions): Promise<MetadataNode> {
    const node = new MetadataNode(options);
    if (isMetadataNode(options.keeper)) await node.#openRing();
    node.#run = whileOpen(
      (signal) => node.#become(signal),
      (signal) => node.#tell(signal),
    );
    return node;
  }

  /** Its part in the ring; `undefined` while it has no role, or wants none. */
  get ring(): RingPart | undefined {
    return this.#ring;
  }

  /** All metadata nodes that are known, this one too. */
  views(): readonly RingNodeView[] {
    const { part, config, isLeaving } = this.#options;
    const known = new Set(part.claims.known().map(({ node }) => node));
    const others = part.network
      .members()
      .filter(({ node, health }) => known.has(node) && health !== 'left')
      .map((member) => ({
        node: member.node,
        labels: member.labels,
        isAlive: member.health === 'alive',
        rttMs: member.rttMs ?? undefined,
        isLeaving: member.labels['leaving'] !== undefined,
      }));
    if (!this.#ring) return others;
    const self = part.network.self;
    const own = { node: self, labels: namedLevels(config), isAlive: true, isLeaving: isLeaving() };
    return [own, ...others];
  }

  /**
   * Those of {@link views}, and members with the role that nobody has heard of since the start:
   * they are away, not gone.
   */
  viewsOf(members: readonly MemberRecord[]): readonly RingNodeView[] {
    const views = this.views();
    const known = new Set(views.map(({ node }) => node));
    const heard = membersById(this.#options.part.network);
    const silent = members
      .map(({ certificate, labels }) => ({ node: certificate.nodeId, labels }))
      .filter(({ node }) => !known.has(node))
      .map(({ node, labels }) => {
        const isLeaving = heard.get(node)?.labels['leaving'] !== undefined;
        return { node, labels, isAlive: false, isLeaving };
      });
    return [...views, ...silent];
  }

  /** Other metadata nodes that answer. */
  others(): readonly NodeId[] {
    const { self } = this.#options.part.network;
    const alive = this.views().filter(({ isAlive, isLeaving }) => isAlive && !isLeaving);
    return alive.map(({ node }) => node).filter((node) => node !== self);
  }

  /** It has the role from before, and its user does not want it any more. */
  get #isUnwilling(): boolean {
    const { config, keeper } = this.#options;
    return !config.metadata && isMetadataNode(keeper);
  }

  /**
   * Whether the ring needs this node: it has a seat, and another node is to take that, or too few
   * of the others answer.
   */
  isNeeded(): boolean {
    const { self } = this.#options.part.network;
    const seats = this.#ring?.record?.members.map(({ node }) => node) ?? [];
    if (!seats.includes(self)) return false;
    const others = this.others();
    const answering = seats.filter((node) => others.includes(node)).length;
    const isToBeTaken = others.some((node) => !seats.includes(node));
    return isToBeTaken || answering < majorityOf(seats.length);
  }

  async #become(signal: AbortSignal): Promise<void> {
    const { env, config } = this.#options;
    if (!config.metadata) return;
    await seekRole(this.#options, signal);
    for await (const _ of env.clock.every(RETRY_MS, { signal })) {
      if (this.#ring) return;
      await this.#openRing();
    }
  }

  async #openRing(): Promise<void> {
    const { env, part, folder, program, config } = this.#options;
    if (!config.metadata) return;
    const { network, claims } = part;
    try {
      this.#ring = await RingPart.open({
        env,
        folder,
        network,
        program,
        mayUse: (node) => claims.isMetadataNode(node),
        others: () => this.others(),
      });
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.warn('no part can be taken in the ring', { reason: errorMessage(error) });
    }
  }

  /** Others hear of the newest generation that is known here, so that none stays behind. */
  async #tell(signal: AbortSignal): Promise<void> {
    const { env, part, whereabouts } = this.#options;
    let told: string | undefined;
    for await (const _ of env.clock.every(TELL_EVERY_MS, { signal })) {
      if (!this.#ring && !this.#isUnwilling) continue;
      const isLeaving = this.#isUnwilling || this.#options.isLeaving();
      const { generation: registryGeneration, engine } = whereabouts;
      const now = `${registryGeneration} ${engine} ${isLeaving}`;
      if (now === told) continue;
      part.tellRegistry({ registryGeneration, isLocal: engine === 'local', isLeaving });
      told = now;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run?.[Symbol.asyncDispose]();
    await this.#ring?.[Symbol.asyncDispose]();
  }
}
