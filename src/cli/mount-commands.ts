/** Verbs about mounts: mount, umount. */
import { Option } from 'commander';
import type { MountView } from '../api/index.ts';
import { errorCode, HoldfastError } from '../base/index.ts';
import { HELPER_FOLDER, installHelper } from './mount-helper.ts';
import { choicesText, mountChoices } from './mount-options.ts';
import { isoDate, table } from './output.ts';
import type { Session } from './session.ts';
import { addVerb, type Verbs } from './verbs.ts';

interface MountOptions {
  readonly o?: string;
  /** A folder, or the usual one. */
  readonly installHelper?: string | true;
  readonly asHelper?: boolean;
  /** Of mount(8): only pretend; pass over unknown options. */
  readonly f?: boolean;
  readonly s?: boolean;
}

/** Mounts are shown by the kernel with this before the volume. */
const SOURCE_PREFIX = 'holdfast:';

export function addMountCommands(verbs: Verbs): void {
  addMountVerb(verbs);
  addVerb(verbs, 'umount', {
    summary: 'end a mount, when everything that was written has been stored, and forget it',
    details: 'umount(8) ends it, too, but it comes back when the node starts again.',
    args: { '<directory>': 'where it is mounted, or was before the node started' },
    options: {
      '--lazy': 'also when somebody uses it: out of sight now, ended when nobody does',
      '--force': 'also when somebody uses it: they get errors',
    },
    examples: ['holdfast umount /mnt/files', 'holdfast umount /mnt/files --lazy'],
    action: async (
      session: Session,
      { force = false, lazy = false }: { readonly force?: boolean; readonly lazy?: boolean },
      named: string,
    ) => {
      const input = { directory: session.resolve(named), isForced: force, isLazy: lazy };
      using _slow = session.sayWhenSlow(
        'what was written is being stored; why that takes long, if it does: holdfast status …',
      );
      const ended = await session.client.call('mount.remove', input, session);
      session.show(ended, () => [
        `volume ${ended.volume} is mounted at ${ended.directory} no more`,
      ]);
    },
  });
}

function addMountVerb(verbs: Verbs): void {
  const command = addVerb(verbs, 'mount', {
    summary: 'show a volume as a directory; without arguments, list what is mounted',
    details:
      'The node serves it until it is unmounted or the node stops, and mounts it again when it ' +
      'starts. Linux only; a node that is not root needs fusermount3 and the library koffi.',
    args: {
      '[volume]': 'the volume',
      '[directory]': "an empty directory on the node's machine",
    },
    options: {
      '-o <options>':
        'ro: nothing is changed by it; allow_other: for other users, too; noexec: no programs; ' +
        'nolock: locks among programs of this mount alone; ' +
        'and what fstab has beside',
      '--install-helper [folder]': `teach mount(8) the type holdfast (${HELPER_FOLDER}; as root)`,
    },
    examples: [
      'holdfast mount default /mnt/files',
      'holdfast mount photos /mnt/photos -o ro,allow_other',
      'holdfast mount --json',
      'sudo holdfast mount --install-helper',
      'mount -t holdfast holdfast:photos /mnt/photos -o ro',
    ],
    action: async (session: Session, options: MountOptions, volume?: string, directory?: string) =>
      await mountOrList(session, options, { volume, directory }),
  });
  command.addOption(new Option('--as-helper').hideHelp());
  // What mount(8) says beside; most of it changes nothing.
  for (const flags of ['-f', '-n', '-s', '-v', '-t <type>', '-N <namespace>']) {
    command.addOption(new Option(flags).hideHelp());
  }
}

async function mountOrList(
  session: Session,
  options: MountOptions,
  { volume, directory }: { volume: string | undefined; directory: string | undefined },
): Promise<void> {
  const { installHelper: helper, asHelper = false, o = '', s: isSloppy = false } = options;
  if (helper !== undefined) return await addHelper(session, helper);
  if (volume === undefined) return await listMounts(session);
  if (volume === '' || !directory) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'name the volume and the directory');
  }
  const input = {
    volume: volume.startsWith(SOURCE_PREFIX) ? volume.slice(SOURCE_PREFIX.length) : volume,
    directory: session.resolve(directory),
    ...mountChoices(o, { isSloppy }),
  };
  if (asHelper) return options.f ? undefined : await mountForSystem(session, input);
  const mounted = await session.client.call('mount.add', input, session);
  session.show(mounted, () => [`volume ${mounted.volume} is mounted at ${mounted.directory}`]);
}

async function addHelper(session: Session, folder: string | true): Promise<void> {
  const place = session.resolve(folder === true ? HELPER_FOLDER : folder);
  const files = await installHelper(place, session.dataPath);
  session.show({ files }, () => files);
}

type Wish = Pick<MountView, 'volume' | 'directory'> & ReturnType<typeof mountChoices>;

/** Without a word. At boot the node may have mounted it again before we come. */
async function mountForSystem({ client, signal }: Session, wish: Wish): Promise<void> {
  try {
    await client.call('mount.add', { ...wish, endsWithUmount: true }, { signal });
  } catch (error) {
    if (errorCode(error) !== 'HF_EXISTS') throw error;
    const mounts = await client.call('mount.list', {}, { signal });
    const isThere = mounts.some(
      (mount) =>
        mount.directory === wish.directory &&
        mount.volume === wish.volume &&
        choicesText(mount) === choicesText(wish),
    );
    if (!isThere) throw error;
  }
}

async function listMounts(session: Session): Promise<void> {
  const mounts = await session.client.call('mount.list', {}, session);
  session.show(mounts, () => (mounts.length === 0 ? ['nothing is mounted'] : mountTable(mounts)));
}

function mountTable(mounts: readonly MountView[]): string[] {
  const rows = mounts.map((mount) => [
    mount.volume,
    mount.directory,
    choicesText(mount),
    isoDate(mount.mountedAtMs),
  ]);
  return table(['volume', 'directory', 'options', 'since'], rows);
}
