/** What the main thread and the thread of a mount agree on; see `mount-worker.ts`. */
import type { Env } from '../../env/index.ts';
import type { FileSystem } from '../file-system.ts';
import type { ServeBehaviour } from '../serve-mount.ts';

/** What the main thread says. */
export interface MountOrder {
  readonly descriptor: number;
  readonly wake: SharedArrayBuffer;
  readonly behaviour: ServeBehaviour | undefined;
  /** URL of a {@link FileSystemModule}. */
  readonly module: string;
  /** For it; as structured clones go. */
  readonly options: unknown;
}

/** A module that can be served. */
export interface FileSystemModule {
  openFileSystem(options: unknown): Promise<OpenedFileSystem>;
}

export interface OpenedFileSystem extends AsyncDisposable {
  readonly env: Env;
  readonly fileSystem: FileSystem;
}

/** Said once each by the thread, in this order; modules may say other things. */
export const READY = 'holdfast: the mount is served';
export const GONE = 'holdfast: the mount is gone';
