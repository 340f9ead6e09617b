/** How commands of `archive` get at one: its configuration, its key file, and its lock. */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { Archive } from '../archive/index.ts';
import { HoldfastError, MiB } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import type { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import { existingShareKey, neededKey, shareKey } from './share-key.ts';

const CONFIG_FILE = 'archive.yaml';
const PROGRESS_BYTES_MIN = 64 * MiB;

export interface ArchiveOptions {
  readonly config?: string;
  readonly key?: string;
  readonly dryRun?: boolean;
  /** Whether a key file is made where there is none. */
  readonly isSealing?: boolean;
  /** Whether it is the only one that changes the archive meanwhile. */
  readonly isAlone?: boolean;
}

/** Two that change it at once could each remove what the other relies on. @throws HF_BUSY. */
export async function holdArchive(
  { dataPath }: Session,
  { isAlone = false, dryRun = false }: ArchiveOptions,
): Promise<AsyncDisposable | undefined> {
  if (!isAlone || dryRun) return undefined;
  const { holdLock } = await import('../device/index.ts');
  await fs.mkdir(dataPath, { recursive: true, mode: 0o700 });
  const { dev, ino } = await fs.stat(dataPath);
  const what = `the archive of ${dataPath} is being changed by another command: it`;
  return await holdLock(`archive-${dev}-${ino}`, what);
}

export async function openArchive(
  session: Session,
  options: ArchiveOptions,
  bar?: ProgressBar,
): Promise<Archive> {
  const config = await readConfig(session, options);
  const { Archive } = await import('../archive/index.ts');
  const { MachineDisks } = await import('../device/index.ts');
  // Each file of the archive asks for it.
  let known: Uint8Array | undefined;
  const knownKey = async () => (known ??= await existingShareKey(session, options));
  return await Archive.open({
    config,
    dataPath: session.dataPath,
    async shareKey(mayBeMade) {
      const key = await knownKey();
      if (key) return key;
      const isNew = options.isSealing === true && (await mayBeMade());
      return isNew ? await shareKey(session, options) : await neededKey(session, options);
    },
    knownKey,
    random: realEnv().random,
    disks: await MachineDisks.read(),
    isDryRun: options.dryRun ?? false,
    signal: session.signal,
    progress({ done, total }) {
      if (total >= PROGRESS_BYTES_MIN) bar?.update({ done, total, bytes: done });
    },
  });
}

export async function readConfig(session: Session, { config }: ArchiveOptions) {
  const file = config ? session.resolve(config) : path.join(session.dataPath, CONFIG_FILE);
  const text = await fs.readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const isThere = cause.code !== 'ENOENT';
    const reason = isThere ? `: ${cause.message}` : '; docs/operate/archive.md has one';
    const message = `there is no archive configuration ${file}${reason}`;
    throw new HoldfastError(isThere ? 'HF_IO' : 'HF_NOT_FOUND', message, { cause });
  });
  const { parseConfig } = await import('../archive/index.ts');
  return parseConfig(text, session.relative(file));
}
