/** The disks of the cluster as the control interface shows them: of this machine and of others. */
import type { DiskFinder } from '../../admin/index.ts';
import type { DiskView } from '../../api/index.ts';
import { HoldfastError, type NodeId } from '../../base/index.ts';
import { type DiskSources, MachineDisks } from '../../device/index.ts';
import { type DiskEntry, diskListOf, isCalled } from './disk-list.ts';
import { membersById } from '../member-views.ts';
import { nameOf } from './node-names.ts';
import type { Others } from './others.ts';
import type { StoreSet } from '../stores/store-set.ts';

/** What is on this machine now. `sources`: those of Linux when left out. */
export async function lookAtDisks(
  stores: Pick<StoreSet, 'slots'>,
  sources?: DiskSources,
): Promise<readonly DiskEntry[]> {
  return await diskListOf(await MachineDisks.read(sources), stores.slots);
}

export interface LocalDisksOptions {
  readonly self: NodeId;
  readonly others: Pick<Others, 'config' | 'part' | 'diskNews'>;
  /** As {@link lookAtDisks} gives it. */
  readonly look: () => Promise<readonly DiskEntry[]>;
}

export class LocalDisks implements DiskFinder {
  readonly #options: LocalDisksOptions;

  constructor(options: LocalDisksOptions) {
    this.#options = options;
  }

  async here(): Promise<readonly DiskView[]> {
    const { self, others, look } = this.#options;
    const node = { nodeId: self, node: others.config.name };
    return (await look()).map((entry) => ({ ...node, ...entry }));
  }

  async list(): Promise<readonly DiskView[]> {
    return [...(await this.here()), ...this.#heard()];
  }

  async where(name: string, options: { readonly signal: AbortSignal }) {
    const found = (await this.list()).filter((disk) => isCalled(disk, name));
    if (found.length > 0) return found;
    const silent = (await this.#options.others.diskNews?.ask(options)) ?? 0;
    const asked = this.#heard().filter((disk) => isCalled(disk, name));
    if (asked.length > 0) return asked;
    const members = silent === 1 ? 'member' : 'members';
    const rest = silent === 0 ? '' : `; ${silent} ${members} did not answer`;
    const message = `no machine of the cluster that tells has a disk or store "${name}"${rest}`;
    throw new HoldfastError('HF_NOT_FOUND', message);
  }

  /** By name of the node. */
  #heard(): readonly DiskView[] {
    const { part, diskNews } = this.#options.others;
    const members = membersById(part?.network);
    const lists = [...(diskNews?.heard() ?? [])].map(([nodeId, list]) => {
      const node = nameOf(nodeId, members.get(nodeId));
      return { node, views: list.map((entry) => ({ nodeId, node, ...entry })) };
    });
    return lists.toSorted((a, b) => (a.node < b.node ? -1 : 1)).flatMap(({ views }) => views);
  }
}
