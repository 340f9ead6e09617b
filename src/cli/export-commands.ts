/**
 * `export` and `import`: an object as chunk files, which need no node to be read, and back. The
 * content passes through a file of its own in the data directory, readable by its user only, as
 * sealing has to know all of it first.
 */
import { createReadStream } from 'node:fs';
import { HoldfastError } from '../base/index.ts';
import {
  chunkFiles,
  makeFolders,
  SCHEME_OPTIONS,
  type SchemeOptions,
  schemeOf,
  TARGET_OPTIONS,
  warnOfFaults,
} from './chunk-commands.ts';
import { restoredName } from './get-command.ts';
import { mediaTypeOf } from './media-types.ts';
import type { Session } from './session.ts';
import {
  assertKeyOrPlain,
  existingShareKey,
  KEY_OPTIONS,
  type KeyOptions,
  shareKey,
} from './share-key.ts';
import { NAME_OPTION, withPrivateFile } from './share-work.ts';
import { addVerb, type Verbs } from './verbs.ts';
import { writeFile, writeStream } from './write-file.ts';

interface ExportOptions extends SchemeOptions, KeyOptions {
  readonly volume: string;
  readonly shares: string;
  readonly shareTargets?: boolean;
}

interface ImportOptions {
  readonly volume: string;
  readonly name?: string;
  readonly fileName?: string;
  readonly file?: string;
  readonly key?: string;
}

export function addExportCommands(verbs: Verbs): void {
  addVerb(verbs, 'export', {
    summary: 'write an object as chunk files, which need no node to be read',
    details: 'As chunk make does with a file; chunk get, import and restore.mjs read them.',
    args: { '<ref>': 'id, key or content address' },
    options: {
      '--shares <dirs>': 'where the chunk files go, one to each, with commas between',
      '--share-targets': TARGET_OPTIONS['--share-targets'],
      ...SCHEME_OPTIONS,
      ...KEY_OPTIONS,
    },
    hasVolume: true,
    examples: ['holdfast export $id --shares /mnt/a,/mnt/b,/mnt/c --data 2 --parity 1'],
    action: exportObject,
  });
  addVerb(verbs, 'import', {
    summary: 'store the file that chunk files hold and print its id',
    args: { '<chunks...>': 'chunk files, or folders that hold them' },
    options: {
      '--name <key>': 'key under which it can be found',
      '--file-name <name>': 'recorded as the name of the file (default: that of the chunk files)',
      '--file <name>': NAME_OPTION['--name <file>'],
      '--key <file>': KEY_OPTIONS['--key <file>'],
    },
    hasVolume: true,
    examples: [
      'holdfast import /mnt/a /mnt/b',
      'holdfast import /mnt/a /mnt/b --file photos.tar --name backup/photos.tar',
    ],
    action: importObject,
  });
}

async function exportObject(
  session: Session,
  options: ExportOptions,
  reference: string,
): Promise<void> {
  assertKeyOrPlain(options);
  if (options.shares === undefined) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'name the folders for the chunk files: --shares');
  }
  const { client, signal } = session;
  const { volume } = options;
  const object = await client.call('object.query', { volume, reference }, { signal });
  const planned = { sizeBytes: object.sizeBytes, isSealed: !options.plain };
  const { makeChunkFiles } = await import('../shares/index.ts');
  const scheme = await schemeOf(options, planned);
  const targets = { ...options, targets: options.shares };
  const folders = await makeFolders(session, targets, { source: '', scheme });
  const key = options.plain ? undefined : await shareKey(session, options);
  const paths = await withPrivateFile(session, async (file) => {
    const uniqueName = session.io.uniqueName();
    await writeFile(
      file,
      async (handle) => {
        // The very object that was asked about: its key may have a new one by now.
        const { bytes } = await client.get({ volume, reference: object.id, signal });
        await writeStream(handle, bytes);
      },
      { isForced: false, uniqueName },
    );
    return await makeChunkFiles({ file, name: restoredName(object), folders, scheme, key, signal });
  });
  session.show({ object, paths }, () => paths.map((made) => session.relative(made)));
}

async function importObject(
  session: Session,
  options: ImportOptions,
  places: string[],
): Promise<void> {
  const { volume, name, fileName } = options;
  const { client, signal } = session;
  const { getFromChunkFiles } = await import('../shares/index.ts');
  const paths = await chunkFiles(session, places, options.file);
  await withPrivateFile(session, async (file) => {
    const { faults, name: cut } = await getFromChunkFiles({
      paths,
      output: file,
      replaces: false,
      key: await existingShareKey(session, options),
      signal,
    });
    await warnOfFaults(session, faults);
    const recorded = fileName ?? name?.split('/').at(-1) ?? cut;
    const mediaType = mediaTypeOf(recorded ?? '');
    const answer = await client.put(createReadStream(file), {
      volume,
      ...(name === undefined ? {} : { key: name }),
      ...(recorded === undefined ? {} : { fileName: recorded }),
      ...(mediaType === undefined ? {} : { mediaType }),
      signal,
    });
    session.show(answer, () => [answer.object.id]);
  });
}
