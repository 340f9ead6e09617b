/**
 * The nodes of the cluster as this one knows them, from gossip, the topology and the list of
 * members, and which of them a user means by a name, an id or the beginning of one.
 */
import { HoldfastError, type NodeId } from '../../base/index.ts';
import type { NodeView, StorePlaceView } from '../../api/index.ts';
import { DEFAULT_LABEL } from '../../cluster/index.ts';
import type { Clock } from '../../env/index.ts';
import { formatAddress, type MemberView, type Network } from '../../net/index.ts';
import type { TopologyDevice } from '../../placement/index.ts';
import type { Core } from '../core.ts';
import { membersById } from '../member-views.ts';
import { LABEL_LEVELS } from '../node-config.ts';
import { freeBytesByStore } from '../stores/free-bytes.ts';
import type { Others } from './others.ts';

/** A store that takes longer to say how full it is counts as silent. */
const USAGE_MS = 1500;
/** Nodes that are listed when a name fits several. */
const IDS_MAX = 8;

export interface NodeSources {
  readonly network: Pick<Network, 'self' | 'members'>;
  readonly self: { readonly name: string; readonly labels: NodeView['labels'] };
  readonly addresses: readonly string[];
  readonly home: NodeId | undefined;
  /** Whether the home carries all metadata. */
  readonly isHomeAlone: boolean;
  readonly core: Pick<Core, 'cluster' | 'stores'> | undefined;
  readonly clock: Clock;
}

/** This node first, then by name. Nodes that left and hold nothing are not listed. */
export async function nodeViews(sources: NodeSources): Promise<readonly NodeView[]> {
  const { network, core, home } = sources;
  const about = { clock: sources.clock, msMax: USAGE_MS };
  const freeBytes = core ? await freeBytesByStore(core.stores(), about) : new Map();
  const members = membersById(network);
  const remembered = home === undefined ? [] : [home];
  const ids = new Set([network.self, ...members.keys(), ...nodesOfDevices(core), ...remembered]);
  const views = [...ids].map((id) => viewOf(sources, { id, member: members.get(id), freeBytes }));
  const [self, ...others] = views;
  const isGone = ({ id, state }: NodeView): boolean =>
    state === 'left' || (state === 'replaced' && members.get(id as NodeId)?.health !== 'alive');
  const shown = others.filter((view) => !isGone(view) || view.storeCount > 0);
  return [self!, ...shown.toSorted((a, b) => (a.name < b.name ? -1 : 1))];
}

function viewOf(
  { network, self, addresses, home, isHomeAlone, core, clock }: NodeSources,
  about: {
    readonly id: NodeId;
    readonly member: MemberView | undefined;
    readonly freeBytes: ReadonlyMap<string, number>;
  },
): NodeView {
  const { id, member, freeBytes } = about;
  const isSelf = id === network.self;
  const isHome = id === (home ?? network.self);
  const devices = (core?.cluster.devicesOf(id) ?? []).filter(({ state }) => state !== 'out');
  const answering = devices.filter((device) => freeBytes.has(device.id));
  const free = answering.reduce((sum, device) => sum + freeBytes.get(device.id)!, 0);
  return {
    id,
    name: isSelf ? self.name : nameOf(id, member),
    state: isSelf ? 'self' : stateOf(member, { home, isHomeAlone }),
    addresses: isSelf ? addresses : (member?.addresses ?? []).map(formatAddress),
    rttMs: member?.rttMs ?? null,
    heardMsAgo: member?.heardAtMs === undefined ? null : clock.monotonic() - member.heardAtMs,
    labels: isSelf ? self.labels : levelsOf(member),
    isHome,
    carriesNames: isHome && isHomeAlone,
    storeCount: devices.length,
    sizeBytes: sumOf(devices),
    freeBytes: answering.length > 0 ? free : null,
  };
}

/**
 * Who says that it is home, and is it not, was replaced by a recovery (home-claims.ts), where one
 * home carries all. In a ring that is only a seat that another has taken meanwhile.
 */
function stateOf(
  member: MemberView | undefined,
  { home, isHomeAlone }: Pick<NodeSources, 'home' | 'isHomeAlone'>,
): NodeView['state'] {
  if (!member) return 'unknown';
  const saysHome = isHomeAlone && member.labels['home'] !== undefined;
  const isHome = home === undefined || member.node === home;
  return saysHome && !isHome ? 'replaced' : member.health;
}

function nodesOfDevices(core: NodeSources['core']): readonly NodeId[] {
  const devices = core?.cluster.topology().devices ?? [];
  return devices
    .filter(({ state }) => state !== 'out')
    .map(({ id }) => core?.cluster.nodeOf(id))
    .filter((node) => node !== undefined);
}

function sumOf(devices: readonly TopologyDevice[]): number {
  return devices.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
}

export function nameOf(id: NodeId, member: Pick<MemberView, 'labels'> | undefined): string {
  return member?.labels['name'] ?? id.slice(0, 8);
}

function levelsOf(member: MemberView | undefined): NodeView['labels'] {
  const named = LABEL_LEVELS.map((level) => [level, member?.labels[level]] as const);
  return Object.fromEntries(
    named.filter((pair): pair is [(typeof pair)[0], string] => pair[1] !== undefined),
  );
}

/** Where the stores of the cluster stand; levels that nobody named are left out. */
export function storePlaces(
  { cluster }: Pick<Core, 'cluster'>,
  { part, config }: Pick<Others, 'part' | 'config'>,
): Readonly<Record<string, StorePlaceView>> {
  const { devices, levels } = cluster.topology();
  const members = membersById(part?.network);
  const places = devices.map(({ id, labels }) => {
    const node = cluster.nodeOf(id);
    const isSelf = !part || node === part.network.self;
    const name = isSelf ? config.name : node && nameOf(node, members.get(node));
    const named = levels
      .map((level, i) => [level, labels[i] ?? DEFAULT_LABEL] as const)
      .filter(
        ([level, label]) => label !== DEFAULT_LABEL && !(level === 'server' && label === node),
      );
    return [id, { node: name ?? null, domains: Object.fromEntries(named) }] as const;
  });
  return Object.fromEntries(places);
}

function idsOf(nodes: readonly { readonly id: string; readonly name: string }[]): string {
  const told = nodes.slice(0, IDS_MAX).map(({ id, name }) => `${id.slice(0, 12)} (${name})`);
  return `${told.join(', ')}${nodes.length > IDS_MAX ? ', …' : ''}`;
}

/** A node as lines for people name it. */
export function tellNode(id: NodeId, members: readonly MemberView[]): string {
  const member = members.find(({ node }) => node === id);
  const name = member?.labels['name'];
  return name === undefined ? id.slice(0, 8) : `${name} (${id.slice(0, 8)})`;
}

/**
 * The node that a user means.
 * @throws HF_NOT_FOUND when it is none, or more than one.
 */
export function findNode<Known extends Pick<NodeView, 'id' | 'name'> & Partial<NodeView>>(
  nodes: readonly Known[],
  wanted: string,
): Known {
  const called = nodes.filter(({ name, id }) => name === wanted || id === wanted);
  // The name of a node that was replaced is its successor's.
  const current = called.filter(({ state }) => state !== 'replaced');
  const named = current.length > 0 ? current : called;
  const found = named.length > 0 ? named : nodes.filter(({ id }) => id.startsWith(wanted));
  if (found.length === 1 && wanted !== '') return found[0]!;
  throw new HoldfastError(
    'HF_NOT_FOUND',
    found.length === 0
      ? `"${wanted}" is no node of this cluster; see: holdfast peers`
      : `"${wanted}" fits ${found.length} nodes; write one of the ids: ${idsOf(found)}`,
  );
}
