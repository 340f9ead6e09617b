/** A mount whose file system lives in the thread that opens it; the reader's thread asks it. */
import { siblingModule } from '../../env/index.ts';
import { type Mount, openMount, type OpenMountOptions } from '../mounting/open-mount.ts';
import { RelayHost } from './host.ts';
import {
  type HostMessage,
  isRelayed,
  type ReaderMessage,
  type RelayedFileSystem,
} from './messages.ts';

export interface RelayedMountOptions extends Omit<OpenMountOptions, 'module' | 'options'> {
  /** Stays the caller's; in use until the mount has ended. */
  readonly fileSystem: RelayedFileSystem;
}

/** @throws as openMount. */
export async function openRelayedMount(options: RelayedMountOptions): Promise<Mount> {
  const { fileSystem, ...about } = options;
  const module = siblingModule(import.meta.url, './reader-worker');
  const mount = await openMount({ ...about, module });
  const { worker } = mount;
  const post = (message: HostMessage, handedOver: ArrayBuffer[]): void =>
    worker.postMessage(message, handedOver);
  const host = new RelayHost({ env: options.env, fileSystem, post });
  worker.on('message', (message: ReaderMessage) => {
    if (isRelayed(message)) host.hear(message);
  });
  post({ relay: 'begin' }, []);
  try {
    await mount.wake();
    return mount;
  } catch (error) {
    await mount[Symbol.asyncDispose]();
    throw error;
  }
}
