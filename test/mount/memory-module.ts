/** The file system in memory as a module that a mount's thread loads. */
import { realEnv, silentLog } from '../../src/env/index.ts';
import type { FileSystemModule } from '../../src/mount/index.ts';
import { MemoryFileSystem } from './memory-file-system.ts';

export const openFileSystem: FileSystemModule['openFileSystem'] = async () => ({
  env: realEnv({ log: silentLog }),
  fileSystem: new MemoryFileSystem(),
  async [Symbol.asyncDispose]() {},
});
