/**
 * What a node that recovered the cluster takes over from the home before it. The data directory
 * with its settings is lost; the registry knows the name of that node and where it stood, by its
 * member record. Members whose certificates let them be home, but that are not, are *replaced*.
 */
import type { NodeId } from '../../base/index.ts';
import type { MemberRecord, Members } from '../../cluster/index.ts';
import { type Certificate, ROLES } from '../../crypto/index.ts';
import type { Labels } from '../../net/index.ts';
import {
  type ConfigChanges,
  DEFAULT_LISTEN,
  LABEL_LEVELS,
  type NodeConfig,
  withPorts,
} from '../node-config.ts';

/** Of a certificate that a node made for itself. */
const FIRST_SERIAL = 1;

export interface Succession {
  /** The node that was home before. */
  readonly former: { readonly name: string; readonly labels: Labels } | undefined;
  /** Whether there are nodes that need to find their home. */
  readonly hasFollowers: boolean;
}

/** @param self the home now. */
export async function successionOf(
  members: Pick<Members, 'list'>,
  self: NodeId,
): Promise<Succession> {
  const others = (await members.list()).filter(({ certificate }) => certificate.nodeId !== self);
  const former = others.filter((record) => isReplaced(record, self)).at(-1);
  return { former, hasFollowers: others.some((record) => !isReplaced(record, self)) };
}

/** Whether, in the log of one node, it was home before `home`. */
export function isReplaced(
  { certificate }: Pick<MemberRecord, 'certificate'>,
  home: NodeId,
): boolean {
  return certificate.nodeId !== home && isSelfMade(certificate);
}

/**
 * A node that began the cluster, or recovered it, certified itself: with the metadata role, and the
 * first serial. Who was given the role has another.
 */
export function isSelfMade({ serial, roles }: Pick<Certificate, 'serial' | 'roles'>): boolean {
  return serial === FIRST_SERIAL && (roles & ROLES.metadata) !== 0;
}

/** @param said what the user has said of the node since. */
export async function succeeding(
  config: NodeConfig,
  { former, hasFollowers }: Succession,
  said: ConfigChanges,
): Promise<NodeConfig> {
  const isToListen = hasFollowers && config.listen.length === 0;
  const listen = isToListen ? await withPorts([DEFAULT_LISTEN], { mayMove: true }) : config.listen;
  if (!former) return { ...config, listen };
  const { name, labels: known } = former;
  const levels = LABEL_LEVELS.filter((level) => known[level] !== undefined);
  const labels = Object.fromEntries(levels.map((level) => [level, known[level]]));
  return { ...config, listen, name: said.name ?? name, labels: { ...labels, ...config.labels } };
}
