/** The metadata of the cluster as the control interface shows it, with names for people. */
import type { MetadataManager } from '../admin/index.ts';
import type {
  CellView,
  MetadataView,
  NamedEtcdView,
  NamedNode,
  PathCellView,
} from '../api/index.ts';
import type { NodeId } from '../base/index.ts';
import { type CellWhere, slotOfInode, volumeOfSpace } from '../meta/index.ts';
import type { Heart } from './heart.ts';
import type { MetadataReporter } from './metadata-report.ts';
import { nameOf } from './peers/node-names.ts';
import type { Others } from './peers/others.ts';
import { namedEtcd, type NamedEtcdWish } from './ring/named-etcd.ts';
import type { RingView } from './ring/ring-asks.ts';

export interface MetadataViewsOptions {
  readonly self: NodeId;
  readonly heart: Pick<Heart, 'core' | 'needCore'>;
  readonly others: Others;
  readonly reporter: MetadataReporter;
}

export class MetadataViews implements MetadataManager {
  readonly #options: MetadataViewsOptions;

  constructor(options: MetadataViewsOptions) {
    this.#options = options;
  }

  async report(): Promise<MetadataView> {
    const report = await this.#options.reporter.report();
    const { engine, generation, home, ring, cells, note = null } = report;
    const seats = (ring?.record.members ?? []).map(({ node, state: seat }) => {
      const status = ring?.statuses.get(node);
      const etcd = status?.etcd;
      return {
        ...this.#named(node),
        seat,
        state: status?.state ?? null,
        isLeader: etcd !== undefined && etcd.leader === etcd.id,
        version: etcd?.version ?? null,
        dbBytes: etcd?.dbBytes ?? null,
        reason: status?.reason ?? null,
      };
    });
    return {
      engine,
      generation,
      home: home === undefined ? null : this.#named(home),
      ring: seats,
      etcd: engine === 'etcd' ? etcdView(ring) : null,
      cells: cells.map((cell) => this.#cell(cell)),
      note,
    };
  }

  async where(volume: string, path: string): Promise<readonly PathCellView[]> {
    const { volumes } = this.#options.heart.needCore();
    const files = volumes.files(volume);
    const { id } = volumes.recordOf(volume);
    const found = await files.status(path);
    const inodes: { what: PathCellView['what']; inode: string }[] = [];
    if (found.path !== '') {
      const above = await files.status(found.path.replace(/(^|\/)[^/]*$/u, ''));
      inodes.push({ what: 'entry', inode: above.inode });
    }
    inodes.push({ what: 'inode', inode: found.inode });
    const places: PathCellView[] = [];
    for (const { what, inode } of inodes) {
      const slot = slotOfInode(BigInt(inode));
      const cell = await this.#options.reporter.where(id, slot);
      places.push({ what, slot, cell: cell ? this.#cell(cell) : null });
    }
    return places;
  }

  async restore(): Promise<readonly string[]> {
    const { life, named } = await this.#options.reporter.restoreRing();
    if (named) {
      return [
        `your etcd is taken for restored (its life ${life})`,
        'lost: what was confirmed after its backup was made',
        'start all other nodes anew: they may have seen what is gone',
      ];
    }
    return [
      `a new ring begins from what this node has (its life ${life}); it grows by itself`,
      'lost: what only the lost members had confirmed, the last moments before they went',
      'start all other nodes anew: they may have seen what is gone',
    ];
  }

  async useEtcd(wish: NamedEtcdWish): Promise<readonly string[]> {
    const named = namedEtcd(wish);
    const isThere = await this.#options.reporter.useEtcd(named);
    const where = `${named.endpoints.join(', ')}, under ${named.prefix}`;
    if (isThere) return [`names are kept in your etcd: ${where}`];
    return [`names move to your etcd (${where}); how far: holdfast meta status`];
  }

  #named(node: NodeId): NamedNode {
    const { self, others } = this.#options;
    const member = others.part?.network.members().find((one) => one.node === node);
    return { id: node, name: node === self ? others.config.name : nameOf(node, member) };
  }

  #cell({ space, cell, slots, members, standing }: CellWhere): CellView {
    return {
      cell,
      volume: this.#volumeName(space),
      slots: [slots.from, slots.to],
      members: members.map((node) => ({ ...this.#named(node), behind: behind(node, standing) })),
      steward: standing ? this.#named(standing.steward) : null,
      epoch: standing?.epoch ?? null,
      entry: standing?.lsn ?? null,
    };
  }

  #volumeName(space: string): string | null {
    const volume = volumeOfSpace(space);
    const records = this.#options.heart.core?.volumes.records ?? [];
    return records.find(({ id }) => id === volume)?.name ?? null;
  }
}

function behind(member: NodeId, standing: CellWhere['standing']): number | null {
  if (!standing) return null;
  const { steward, lsn, followers } = standing;
  const reached = member === steward ? lsn : followers.find(({ node }) => node === member)?.lsn;
  return reached === undefined ? null : Math.max(0, lsn - reached);
}

function etcdView(ring: RingView | undefined): NamedEtcdView | null {
  const prefix = ring?.record.named?.prefix;
  if (prefix === undefined) return null;
  const members = (ring?.named ?? []).map(({ endpoint, status, reason }) => ({
    endpoint,
    isLeader: status !== undefined && status.leader === status.id,
    version: status?.version ?? null,
    dbBytes: status?.dbBytes ?? null,
    reason: reason ?? null,
  }));
  return { prefix, members };
}
