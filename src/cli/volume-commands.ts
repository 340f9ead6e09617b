/** Verbs about volumes: volume create, list, policy. */
import type { VolumeView } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import { table } from './output.ts';
import type { Session } from './session.ts';
import { formatSize } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

export function addVolumeCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'volume', 'make, list and set volumes');
  addVerb(group, 'create', {
    summary: 'make a volume: a namespace with keys of its own',
    details: 'Export the recovery kit anew afterwards: older kits do not open it.',
    args: { '<name>': 'a-z, 0-9, "." and "-"' },
    options: {
      '--scheme <scheme>': 'such as rs-4+2 (default: what fits the stores)',
      '--no-dedup': 'store equal content each time; nobody learns that it is equal',
    },
    examples: ['holdfast volume create photos --scheme rs-10+4'],
    action: async (
      session: Session,
      { scheme, dedup }: { scheme?: string; dedup?: boolean },
      name: string,
    ) => {
      const input = {
        name,
        isDeduplicating: dedup !== false,
        ...(scheme === undefined ? {} : { scheme }),
      };
      const volume = await session.client.call('volume.create', input, session);
      session.show(volume, () => [`made volume ${volume.name} with scheme ${volume.scheme}`]);
    },
  });
  addVerb(group, 'list', {
    summary: 'list the volumes',
    examples: ['holdfast volume list'],
    action: async (session: Session) => {
      const volumes = await session.client.call('volume.list', {}, session);
      session.show(volumes, () => volumeTable(volumes));
    },
  });
  addVerb(group, 'policy', {
    summary: 'set the scheme of what a volume gets from now on',
    details: 'What is stored already keeps the scheme that it has.',
    args: { '<name>': 'the volume' },
    options: { '--scheme <scheme>': 'such as rs-4+2, ida-3of5, copy-3 (needed)' },
    examples: ['holdfast volume policy default --scheme rs-10+4'],
    action: async (session: Session, { scheme }: { scheme?: string }, name: string) => {
      if (scheme === undefined) throw new HoldfastError('HF_BAD_ARGUMENT', 'name it with --scheme');
      const volume = await session.client.call('volume.policy', { name, scheme }, session);
      session.show(volume, () => [
        `volume ${volume.name} stores with ${volume.scheme} from now on`,
      ]);
    },
  });
}

export function volumeTable(volumes: readonly VolumeView[]): string[] {
  const rows = volumes.map((volume) => [
    volume.name,
    volume.scheme,
    String(volume.objectCount),
    formatSize(volume.contentBytes),
    volume.isDeduplicating ? 'yes' : 'no',
  ]);
  const header = ['volume', 'scheme', 'objects', 'content', 'dedup'];
  return table(header, rows, { right: ['objects', 'content'] });
}
