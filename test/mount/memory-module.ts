/** The file system in memory as a module that a mount's thread loads. */
import { realEnv, silentLog } from '../../src/env/index.ts';
import type { FileSystemModule } from '../../src/mount/index.ts';
import { MemoryFileSystem } from './memory-file-system.ts';

const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

export const openFileSystem: FileSystemModule['openFileSystem'] = async () => ({
  env: realEnv({ log: silentLog }),
  fileSystem: new MemoryFileSystem(owner),
  async [Symbol.asyncDispose]() {},
});
