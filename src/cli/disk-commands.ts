/** Verbs about the disks of all machines: disks list, where, localhost. */
import type { DiskView } from '../api/index.ts';
import { shortId, table } from './output.ts';
import type { Session } from './session.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

export function addDiskCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'disks', 'which disk is on which machine of the cluster');
  addVerb(group, 'list', {
    summary: 'list the disks and stores of all machines of the cluster',
    details:
      'Filesystems with a label or a uuid, mounted or not, and stores, as their nodes told last; ' +
      'a change is told within ten seconds. Nodes that were started with --no-disks tell nothing.',
    examples: ['holdfast disks list', 'holdfast disks list --json'],
    action: async (session: Session) => {
      const disks = await session.client.call('disks.list', {}, session);
      session.show(disks, () => diskTable(disks, { hasNodes: true }));
    },
  });
  addVerb(group, 'where', {
    summary: 'find the machine and the path of a disk or store',
    details: 'When nothing is known of it, the nodes of the cluster are asked.',
    args: {
      '<name>': 'a label; or the id of a store, or a uuid, or four or more of its first digits',
    },
    examples: ['holdfast disks where BOOKS', 'holdfast disks where 3f2a91c0 --json'],
    action: async (session: Session, _: object, name: string) => {
      const disks = await session.client.call('disks.where', { name }, session);
      session.show(disks, () => disks.map(diskLine));
    },
  });
  addVerb(group, 'localhost', {
    summary: 'list the disks and stores of this machine',
    examples: ['holdfast disks localhost', 'holdfast disks localhost --json'],
    action: async (session: Session) => {
      const disks = await session.client.call('disks.localhost', {}, session);
      session.show(disks, () => diskTable(disks, { hasNodes: false }));
    },
  });
}

export function diskTable(
  disks: readonly DiskView[],
  { hasNodes }: { readonly hasNodes: boolean },
): string[] {
  if (disks.length === 0) return ['no disk with a label or a uuid, and no store, is known'];
  const rows = disks.map((disk) => [
    ...(hasNodes ? [disk.node] : []),
    disk.storeId === null ? 'disk' : 'store',
    disk.label ?? '-',
    disk.storeId ?? disk.uuid ?? '-',
    disk.device ?? '-',
    disk.path ?? '(not mounted)',
  ]);
  const header = [...(hasNodes ? ['node'] : []), 'kind', 'label', 'id', 'device', 'path'];
  return table(header, rows);
}

/** `berlin-2 (5f3a91c0): /mnt/books (disk BOOKS, /dev/sdb1, uuid 12-34)` */
function diskLine({ node, nodeId, storeId, uuid, label, device, path }: DiskView): string {
  const kind = storeId === null ? 'disk' : 'store';
  const about = [
    label === null ? kind : `${kind} ${label}`,
    ...(device === null || device === path ? [] : [device]),
    ...(uuid === null ? [] : [`uuid ${uuid}`]),
    ...(storeId === null ? [] : [`id ${storeId}`]),
  ];
  return `${node} (${shortId(nodeId)}): ${path ?? 'not mounted'} (${about.join(', ')})`;
}
