/** Verbs about mounts: mount, umount. */
import type { MountView } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import { isoDate, table } from './output.ts';
import type { Session } from './session.ts';
import { addVerb, type Verbs } from './verbs.ts';

export function addMountCommands(verbs: Verbs): void {
  addVerb(verbs, 'mount', {
    summary: 'show a volume as a directory; without arguments, list what is mounted',
    details:
      'The node serves it until it is unmounted or the node stops. Linux only; the node runs as ' +
      'root, or has fusermount3 and the library koffi.',
    args: {
      '[volume]': 'the volume',
      '[directory]': "an empty directory on the node's machine",
    },
    options: {
      '-o <options>': 'ro: nothing is changed by it; allow_other: for other users, too; rw',
    },
    examples: [
      'holdfast mount default /mnt/files',
      'holdfast mount photos /mnt/photos -o ro,allow_other',
      'holdfast mount',
    ],
    action: async (
      session: Session,
      { o }: { readonly o?: string },
      volume: string | undefined,
      directory: string | undefined,
    ) => {
      if (volume === undefined) return await listMounts(session);
      if (directory === undefined) {
        throw new HoldfastError('HF_BAD_ARGUMENT', 'name the volume and the directory');
      }
      const input = { volume, directory: session.resolve(directory), ...mountOptions(o ?? '') };
      const mounted = await session.client.call('mount.add', input, session);
      session.show(mounted, () => [`volume ${mounted.volume} is mounted at ${mounted.directory}`]);
    },
  });
  addVerb(verbs, 'umount', {
    summary: 'end a mount, when everything that was written has been stored',
    args: { '<directory>': 'where it is mounted' },
    options: { '--force': 'even when somebody uses it: they get errors' },
    examples: ['holdfast umount /mnt/files'],
    action: async (session: Session, { force }: { readonly force?: boolean }, named: string) => {
      const input = { directory: session.resolve(named), isForced: force === true };
      const ended = await session.client.call('mount.remove', input, session);
      session.show(ended, () => [
        `volume ${ended.volume} is mounted at ${ended.directory} no more`,
      ]);
    },
  });
}

/** @throws HF_BAD_ARGUMENT. */
function mountOptions(text: string): { isReadOnly: boolean; allowsOthers: boolean } {
  const words = text.split(',').filter((word) => word !== '');
  const unknown = words.find((word) => !['ro', 'rw', 'allow_other'].includes(word));
  if (unknown !== undefined) {
    const message = `"${unknown}" is no option of a mount: ro, rw, allow_other`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  return { isReadOnly: words.includes('ro'), allowsOthers: words.includes('allow_other') };
}

async function listMounts(session: Session): Promise<void> {
  const mounts = await session.client.call('mount.list', {}, session);
  session.show(mounts, () => (mounts.length === 0 ? ['nothing is mounted'] : mountTable(mounts)));
}

function mountTable(mounts: readonly MountView[]): string[] {
  const rows = mounts.map(({ volume, directory, isReadOnly, allowsOthers, mountedAtMs }) => [
    volume,
    directory,
    [isReadOnly ? 'ro' : 'rw', ...(allowsOthers ? ['allow_other'] : [])].join(','),
    isoDate(mountedAtMs),
  ]);
  return table(['volume', 'directory', 'options', 'since'], rows);
}
