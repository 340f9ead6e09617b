/** Verbs about many nodes: invite, join, peers, leave, node remove. */
import type { NodeView, ProgressView } from '../api/index.ts';
import { HoldfastError, LIMITS } from '../base/index.ts';
import { parseDuration } from './durations.ts';
import { isoDate, plural, shortId, table } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import { formatSize } from './sizes.ts';
import { addJoinVerb } from './up-command.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

interface InviteOptions {
  readonly expires?: string;
  readonly admin?: boolean;
  readonly address?: readonly string[];
}

export function addClusterCommands(verbs: Verbs): void {
  addVerb(verbs, 'invite', {
    summary: 'print a token with which one machine can join this cluster',
    details:
      'The token works once, until it expires. Whoever sees it first can use it: hand it over in ' +
      'private, as a file. A node that was alone begins to listen, on tls://0.0.0.0:7450.',
    options: {
      '--expires <time>': 'how long it works: 30m, 1h, 7d (default: 1h, at most 30d)',
      '--admin': 'who joins may invite others in turn, and holds the key of the cluster',
      '--address <address...>': 'where this node is reached (default: where it listens)',
    },
    examples: [
      'holdfast invite > token',
      'holdfast invite --expires 1d --address tls://203.0.113.7:7450',
    ],
    action: invite,
  });
  addJoinVerb(verbs);
  addVerb(verbs, 'peers', {
    summary: 'list the nodes of the cluster: state, round trip, stores, addresses',
    details: 'The node marked "home" carries the names: while it is away, nothing can be opened.',
    examples: ['holdfast peers', 'holdfast peers --json'],
    action: listNodes,
  });
  addGoingVerbs(verbs);
}

async function listNodes(session: Session): Promise<void> {
  const nodes = await session.client.call('peers.list', {}, session);
  session.show(nodes, () =>
    nodes.length === 0
      ? ['this node is alone; others can come with: holdfast invite']
      : peerTable(nodes),
  );
}

function addGoingVerbs(verbs: Verbs): void {
  addVerb(verbs, 'leave', {
    summary: 'take this node out of its cluster: what it holds moves to the others first',
    details:
      'The node stops when it is done. Interrupted, it goes on holding what has not moved; ask ' +
      'again. The machine can come back with a new invitation and a new data directory.',
    examples: ['holdfast leave'],
    action: async (session: Session) => {
      using bar = new ProgressBar(session.io, 'leave');
      using slow = session.sayWhenSlow('what this node holds is moved to the others …');
      const onProgress = ({ doneCount, totalCount, bytes }: ProgressView): void => {
        if (session.io.stderr.isTTY) slow[Symbol.dispose]();
        bar.update({ done: doneCount, total: totalCount, bytes });
      };
      const { signal } = session;
      const left = await session.client.call('cluster.leave', {}, { signal, onProgress });
      session.show(left, () => [
        `moved ${plural('chunk', left.movedChunks)}, ${formatSize(left.movedBytes)}; ` +
          'this node has left the cluster and stops',
      ]);
    },
  });
  const group = addGroup(verbs, 'node', 'nodes of the cluster');
  addVerb(group, 'list', {
    summary: 'the same as peers',
    examples: ['holdfast node list'],
    action: listNodes,
  });
  addVerb(group, 'remove', {
    summary: 'take a dead node out of the cluster: its shards are made again elsewhere',
    details:
      'It comes back only with a new invitation. A node that is alive leaves by itself: run ' +
      'holdfast leave there. --force cuts it off at once, with all that it holds.',
    args: { '<node>': 'its name, its id or the beginning of it; see peers' },
    options: { '--force': 'even if it is alive' },
    examples: ['holdfast node remove berlin-2', 'holdfast node remove 5f3a --force'],
    action: async (session: Session, { force = false }: { force?: boolean }, node: string) => {
      const input = { node, isForced: force };
      const removed = await session.client.call('node.remove', input, session);
      session.show(removed, () => [
        `removed ${removed.name} (${shortId(removed.id)}); what it held is made again: ` +
          'holdfast health',
      ]);
    },
  });
}

async function invite(
  session: Session,
  { expires = '1h', admin = false, address }: InviteOptions,
): Promise<void> {
  const lifeMs = parseDuration(expires);
  if (lifeMs > LIMITS.invitationLifeMsMax) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'an invitation works for at most 30d');
  }
  const addresses = address && [...address];
  const input = { lifeMs, isAdmin: admin, ...(addresses ? { addresses } : {}) };
  const invitation = await session.client.call('cluster.invite', input, session);
  session.show(invitation, () => [invitation.token]);
  if (session.isJson) return;
  session.note(
    `holdfast: works once, until ${isoDate(invitation.expiresAtMs)}; keep it private`,
    'holdfast: on the other machine, with this line in a file: holdfast join FILE',
  );
}

export function peerTable(nodes: readonly NodeView[]): string[] {
  const rows = nodes.map((node) => [
    node.isHome ? `${node.name} (home)` : node.name,
    shortId(node.id),
    node.state === 'self' ? 'alive (this one)' : node.state,
    node.rttMs === null ? '-' : `${node.rttMs.toFixed(1)} ms`,
    node.heardMsAgo === null ? '-' : `${Math.round(node.heardMsAgo / 1000)} s`,
    String(node.storeCount),
    node.freeBytes === null ? '-' : formatSize(node.freeBytes),
    domainsOf(node),
    node.addresses.join(' '),
  ]);
  const header = ['node', 'id', 'state', 'rtt', 'heard', 'stores', 'free', 'where', 'addresses'];
  return table(header, rows, { right: ['rtt', 'heard', 'stores', 'free'] });
}

function domainsOf({ labels }: NodeView): string {
  const levels = Object.entries(labels).map(([level, domain]) => `${level}=${domain}`);
  return levels.join(' ') || '-';
}
