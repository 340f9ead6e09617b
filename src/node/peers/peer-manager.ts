/** The nodes of the cluster as the control interface drives them: list, invite, leave, remove. */
import type { PeerManager } from '../../admin/index.ts';
import type {
  ControlRequest,
  GrantView,
  InvitationView,
  LeaveView,
  NodeView,
} from '../../api/index.ts';
import {
  errorCode,
  errorMessage,
  HoldfastError,
  type NodeId,
  type VolumeId,
} from '../../base/index.ts';
import { Invitations, isAdmin, removeNode } from '../../cluster/index.ts';
import { decodeInvitation, ROLES, SigningKey } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import { openVolumes } from '../../meta/index.ts';
import { formatAddress, parseAddress } from '../../net/index.ts';
import type { RunOptions } from '../../repair/index.ts';
import type { Core } from '../core.ts';
import type { Heart } from '../heart.ts';
import type { Keeper } from '../keeper.ts';
import { leave } from './leaving.ts';
import { namedLevels } from '../node-config.ts';
import { findNode, nodeViews } from './node-names.ts';
import type { Others } from './others.ts';
import type { StoreSet } from '../stores/store-set.ts';
import { isReplaced } from '../metadata/succession.ts';

/** What a node that leaves gives the others to take its part in the metadata. */
const LET_GO_MS = 120_000;
const LET_GO_LOOK_MS = 1000;

export interface LocalPeersOptions {
  readonly env: Env;
  readonly keeper: Keeper;
  readonly stores: StoreSet;
  readonly heart: Pick<Heart, 'core' | 'needCore'>;
  readonly others: Others;
}

export class LocalPeers implements PeerManager {
  readonly #options: LocalPeersOptions;

  constructor(options: LocalPeersOptions) {
    this.#options = options;
  }

  async list(): Promise<readonly NodeView[]> {
    const { env, heart, others } = this.#options;
    const { part, config, home } = others;
    if (!part) return [];
    return await nodeViews({
      network: part.network,
      self: { name: config.name, labels: namedLevels(config) },
      addresses: part.reachable.map(formatAddress),
      home,
      isHomeAlone: others.whereabouts.engine === 'local',
      core: heart.core,
      clock: env.clock,
    });
  }

  async connect(address: string): Promise<NodeView> {
    const { network } = await this.#options.others.listen();
    const { node, verdict } = await network
      .connect(parseAddress(address))
      .catch((error: unknown) => {
        if (errorCode(error) !== 'HF_UNAVAILABLE') throw error;
        const message = `nobody answers at ${address}: ${errorMessage(error)}`;
        throw new HoldfastError('HF_UNAVAILABLE', message, { cause: error });
      });
    if (verdict !== 'member') {
      const message = `${address} is no member of this cluster; it joins with a token: invite`;
      throw new HoldfastError('HF_DENIED', message);
    }
    await network.lookup(node, { deadlineMs: 5000 }).catch(ignoringAbsence);
    return findNode(await this.list(), node);
  }

  async invite(request: ControlRequest<'cluster.invite'>): Promise<InvitationView> {
    const { env, keeper, heart, others } = this.#options;
    const { clusterKey, clusterId, clusterPublicKey } = keeper.keyring;
    if (!clusterKey) {
      const message =
        'this node may not invite: it does not hold the cluster key; ask the first one';
      throw new HoldfastError('HF_DENIED', message);
    }
    heart.needCore();
    for (const address of request.addresses ?? []) parseAddress(address);
    const { network, reachable } = await others.listen();
    const { registry } = heart.needCore();
    const own = reachable.map(formatAddress);
    const [first, ...more] = request.addresses ?? own;
    if (first === undefined) throw new HoldfastError('HF_UNAVAILABLE', 'this node has no address');
    const invitations = new Invitations({ env, registry, clusterId, clusterPublicKey });
    const token = await invitations.create({
      clusterKey: new SigningKey(clusterKey),
      inviter: network.self,
      addresses: [first, ...more],
      roles: ROLES.store | (request.isAdmin ? ROLES.admin : 0),
      lifeMs: request.lifeMs,
    });
    const { expiresAtMs, addresses } = decodeInvitation(token);
    return { token, expiresAtMs, addresses };
  }

  async leave(run: RunOptions): Promise<LeaveView> {
    const { env, heart, stores, others } = this.#options;
    const { self } = others.needPart().network;
    if (others.isCarrier) {
      const message =
        'this node carries the names: without it nothing could be opened; it cannot leave';
      throw new HoldfastError('HF_DENIED', message);
    }
    await this.#assertNotLastAdmin();
    const [volume] = await others.removal().grants.onlyHeldBy(self);
    if (volume !== undefined) {
      const records = await openVolumes(heart.needCore().registry).list();
      const name = records.find(({ id }) => id === volume)?.name ?? volume;
      const grant = `holdfast volume grant ${name} NODE`;
      const message = `this node alone has the keys of volume "${name}": ${grant}`;
      throw new HoldfastError('HF_DENIED', message);
    }
    const options = {
      env,
      core: heart.needCore(),
      self,
      stores,
      refusePutsBefore: (epoch: number) => others.refusePutsBefore(epoch),
      letGo: (signal: AbortSignal | undefined) => this.#letGoOfMetadata(signal),
      takeOut: () => others.leave(),
    };
    return await leave(options, run);
  }

  /** @throws HF_DENIED when nobody could invite or remove nodes any more. */
  async #assertNotLastAdmin(): Promise<void> {
    const { others, keeper } = this.#options;
    const admins = (await others.removal().members.list()).filter(isAdmin);
    if (admins.length !== 1 || admins[0]?.certificate.nodeId !== keeper.nodeId) return;
    const message =
      'this node is the only admin node: without it nobody could invite or remove others; ' +
      'invite another one first: holdfast invite --admin';
    throw new HoldfastError('HF_DENIED', message);
  }

  /**
   * What this node has of the metadata is others' to have: its cells, its part as home, and its
   * seat in the ring, unless the others keep their majority without that.
   */
  async #letGoOfMetadata(signal: AbortSignal | undefined): Promise<void> {
    const { env, heart, others } = this.#options;
    const { metadata } = heart.needCore();
    const untilMs = env.clock.monotonic() + LET_GO_MS;
    for (;;) {
      const isHome = metadata.isHome && !((await metadata.resign?.()) ?? false);
      const hasCells = (metadata.cellCount?.() ?? 0) > 0;
      if (!isHome && !hasCells && !(others.metadataNode?.isNeeded() ?? false)) return;
      if (env.clock.monotonic() >= untilMs) {
        const message =
          'this node keeps a part of the metadata, and no other takes it; see: holdfast status';
        throw new HoldfastError('HF_TOO_FEW_STORES', message);
      }
      await env.clock.sleep(LET_GO_LOOK_MS, { signal });
    }
  }

  async remove({ node, isForced }: ControlRequest<'node.remove'>): Promise<NodeView> {
    const { others } = this.#options;
    const view = findNode(await this.#allNodes(), node);
    const isMovable = others.whereabouts.engine === 'etcd';
    assertMayRemove(view, { isForced, isMovable });
    if (!this.#options.keeper.keyring.clusterKey) {
      throw new HoldfastError(
        'HF_DENIED',
        'only an admin node may remove others; ask the first one',
      );
    }
    await removeNode(others.removal(), view.id as NodeId);
    await others.needPart().tellOfRevocation();
    return { ...view, state: 'left' };
  }

  async grant(name: string, node: string): Promise<GrantView> {
    const { keeper } = this.#options;
    const core = this.#options.heart.needCore();
    const { id } = findNode(await this.#allNodes(), node);
    const volume = await volumeNamed(core, name);
    await core.volumes.refresh(); // it may have been granted to this node just now
    const secret = keeper.get(volume);
    if (!secret) {
      const message = `this node does not hold the keys of volume "${name}"; ask one that does`;
      throw new HoldfastError('HF_DENIED', message);
    }
    const { grants } = this.#options.others.removal();
    await grants.grant(volume, id as NodeId, secret);
    return { volume: name, holders: await grants.holders(volume) };
  }

  async revoke(name: string, node: string): Promise<GrantView> {
    const core = this.#options.heart.needCore();
    const { id } = findNode(await this.#allNodes(), node);
    const volume = await volumeNamed(core, name);
    const { grants } = this.#options.others.removal();
    await grants.revoke(volume, id as NodeId);
    return { volume: name, holders: await grants.holders(volume) };
  }

  /** Those of {@link list}, and members that nobody has heard of lately. */
  async #allNodes(): Promise<readonly NodeView[]> {
    const { others } = this.#options;
    others.needPart();
    const listed = await this.list();
    const ids = new Set(listed.map(({ id }) => id));
    const records = await others.removal().members.list();
    const absent = records
      .filter(({ certificate }) => !ids.has(certificate.nodeId))
      .map((record) => {
        const view = absentView(record.certificate.nodeId, record.name, record.labels);
        const { home } = others;
        // In a ring the home moves; who was it before is not replaced.
        const mayBe = others.whereabouts.engine === 'local' && home !== undefined;
        return mayBe && isReplaced(record, home) ? { ...view, state: 'replaced' as const } : view;
      });
    const names = new Map(records.map(({ certificate, name }) => [certificate.nodeId, name]));
    const isNameless = ({ name, id }: NodeView) => id.startsWith(name);
    const named = listed.map((view) =>
      isNameless(view) ? { ...view, name: names.get(view.id as NodeId) ?? view.name } : view,
    );
    return [...named, ...absent];
  }
}

/** @throws HF_BAD_ARGUMENT for the node itself, HF_DENIED for the home, HF_BUSY if it may run. */
export function assertMayRemove(
  { state, isHome, name }: NodeView,
  {
    isForced,
    isMovable = false,
  }: {
    readonly isForced?: boolean | undefined;
    /** Whether another node becomes home when this one is gone. */
    readonly isMovable?: boolean | undefined;
  },
): void {
  if (state === 'self') {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'this is the node itself: holdfast leave');
  }
  if (isHome && !isMovable) {
    const message = `${name} carries the names: without it nothing could be opened`;
    throw new HoldfastError('HF_DENIED', message);
  }
  if (isForced || (state !== 'alive' && state !== 'suspect')) return;
  const advice =
    state === 'suspect'
      ? 'try again in a quarter of a minute, when it is known to be dead'
      : 'run holdfast leave there, so that nothing is lost';
  const message = `${name} is ${state}: ${advice}; or cut it off with --force`;
  throw new HoldfastError('HF_BUSY', message);
}

function absentView(id: NodeId, name: string, labels: NodeView['labels']): NodeView {
  const unknown = {
    addresses: [],
    rttMs: null,
    heardMsAgo: null,
    isHome: false,
    carriesNames: false,
    freeBytes: null,
  };
  return { id, name, labels, state: 'unknown', storeCount: 0, sizeBytes: 0, ...unknown };
}

/** @throws HF_NOT_FOUND. */
async function volumeNamed({ registry }: Pick<Core, 'registry'>, name: string): Promise<VolumeId> {
  const record = await openVolumes(registry).get(name);
  if (record) return record.id;
  throw new HoldfastError('HF_NOT_FOUND', `there is no volume "${name}"`);
}

function ignoringAbsence(error: unknown): void {
  if (errorCode(error) === undefined) throw error;
}
