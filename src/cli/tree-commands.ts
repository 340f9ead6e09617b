/** Verbs about names: dir, stat, mkdir, mv, ln, unlink, rmdir. */
import type { FileView } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import { fields, isoDate, modeText, shownName, sizeField, table } from './output.ts';
import type { Session } from './session.ts';
import { formatSize } from './sizes.ts';
import { addVerb, type Verbs } from './verbs.ts';

interface VolumeOption {
  readonly volume: string;
}

const PATH = 'names joined by "/", from the root of the volume';

export function addTreeCommands(verbs: Verbs): void {
  addLooks(verbs);
  addMakers(verbs);
  addMoves(verbs);
  addRemovals(verbs);
}

function addLooks(verbs: Verbs): void {
  addVerb(verbs, 'dir', {
    summary: 'list one directory: mode, links, size, date, name',
    args: { '[path]': `${PATH}; the root when left out` },
    hasVolume: true,
    examples: ['holdfast dir', 'holdfast dir photos/2026 --json'],
    action: async (session: Session, { volume }: VolumeOption, named: string | undefined) => {
      const path = named ?? '';
      const entries: FileView[] = [];
      const onItem = (entry: FileView) => void entries.push(entry);
      const { client, signal } = session;
      await client.call('tree.list', { volume, path }, { onItem, signal });
      session.show(entries, () => entryLines(entries));
    },
  });
  addVerb(verbs, 'stat', {
    summary: 'print what is known of a file, directory or link',
    args: { '<path>': PATH },
    hasVolume: true,
    examples: ['holdfast stat photos/2026'],
    action: async (session: Session, { volume }: VolumeOption, path: string) => {
      const file = await session.client.call('tree.status', { volume, path }, session);
      session.show(file, () => fileFields(file));
    },
  });
}

function addMakers(verbs: Verbs): void {
  addVerb(verbs, 'mkdir', {
    summary: 'make a directory',
    details: 'Putting an object under a/b/c needs none: it makes what is missing on the way.',
    args: { '<path>': PATH },
    options: {
      '-p, --parents': 'make what is missing on the way, and be content with what is there',
    },
    hasVolume: true,
    examples: ['holdfast mkdir photos', 'holdfast mkdir -p photos/2026/may'],
    action: async (
      session: Session,
      { volume, parents }: VolumeOption & { parents?: boolean },
      path: string,
    ) => {
      const input = { volume, path, makesParents: parents === true };
      const made = await session.client.call('tree.makeDirectory', input, session);
      if (session.isJson) session.print(JSON.stringify(made));
    },
  });
  addVerb(verbs, 'ln', {
    summary: 'give a file one more name, or make a symbolic link',
    args: { '<existing>': 'the file; with -s any text', '<path>': PATH },
    options: { '-s, --symbolic': 'make a symbolic link that leads to <existing>' },
    hasVolume: true,
    examples: ['holdfast ln report.pdf archive/report.pdf', 'holdfast ln -s report.pdf latest'],
    action: async (
      session: Session,
      { volume, symbolic }: VolumeOption & { symbolic?: boolean },
      existing: string,
      path: string,
    ) => {
      const { client } = session;
      const made = symbolic
        ? await client.call('tree.makeSymlink', { volume, path, target: existing }, session)
        : await client.call('tree.link', { volume, path, existing }, session);
      if (session.isJson) session.print(JSON.stringify(made));
    },
  });
}

function addMoves(verbs: Verbs): void {
  addVerb(verbs, 'mv', {
    summary: 'rename a file or directory, in one step for whoever looks',
    details: 'A file at the new name is replaced; a directory only when it is empty.',
    args: { '<from>': PATH, '<to>': 'the new name: with its directories, which must be there' },
    options: {
      '-n, --no-clobber': 'refuse when something has the new name',
      '--exchange': 'let both take the place of the other',
    },
    hasVolume: true,
    examples: ['holdfast mv draft.txt final.txt', 'holdfast mv -n photos/new photos/2026'],
    action: async (
      session: Session,
      { volume, clobber, exchange }: VolumeOption & { clobber?: boolean; exchange?: boolean },
      from: string,
      to: string,
    ) => {
      if (clobber === false && exchange) {
        throw new HoldfastError(
          'HF_BAD_ARGUMENT',
          '--no-clobber and --exchange exclude each other',
        );
      }
      const flag = exchange ? { flag: 'exchange' as const } : {};
      const kept = clobber === false ? { flag: 'noReplace' as const } : flag;
      const input = { volume, from, to, ...kept };
      const moved = await session.client.call('tree.rename', input, session);
      if (session.isJson) session.print(JSON.stringify(moved));
    },
  });
}

function addRemovals(verbs: Verbs): void {
  addVerb(verbs, 'unlink', {
    summary: 'remove one name of a file; with its last name the file goes',
    details: '`rm` removes a file with all its names.',
    args: { '<path>': PATH },
    hasVolume: true,
    examples: ['holdfast unlink archive/report.pdf'],
    action: async (session: Session, { volume }: VolumeOption, path: string) => {
      const removed = await session.client.call('tree.unlink', { volume, path }, session);
      if (session.isJson) session.print(JSON.stringify(removed));
    },
  });
  addVerb(verbs, 'rmdir', {
    summary: 'remove an empty directory',
    args: { '<path>': PATH },
    hasVolume: true,
    examples: ['holdfast rmdir photos/2025'],
    action: async (session: Session, { volume }: VolumeOption, path: string) => {
      const removed = await session.client.call('tree.removeDirectory', { volume, path }, session);
      if (session.isJson) session.print(JSON.stringify(removed));
    },
  });
}

function entryLines(entries: readonly FileView[]): string[] {
  const rows = entries.map((entry) => [
    modeText(entry),
    String(entry.linkCount),
    formatSize(entry.sizeBytes),
    isoDate(entry.modifiedAtMs),
    shownName(entry.path.slice(entry.path.lastIndexOf('/') + 1)),
  ]);
  return rows.length === 0 ? [] : table(['mode', 'links', 'size', 'modified', 'name'], rows);
}

function fileFields(file: FileView): string[] {
  return fields({
    path: file.path === '' ? '/' : shownName(file.path),
    type: file.type,
    'leads to': file.target === undefined ? null : shownName(file.target),
    mode: modeText(file),
    owner: `${file.uid}:${file.gid}`,
    links: String(file.linkCount),
    size: sizeField(file.sizeBytes),
    inode: file.inode,
    modified: isoDate(file.modifiedAtMs),
    changed: isoDate(file.changedAtMs),
  });
}
