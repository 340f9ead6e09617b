/** The file system in memory, but every answer is a promise that takes a turn of the event loop. */
import { setImmediate as turn } from 'node:timers/promises';
import { realEnv } from '../../src/env/index.ts';
import type { FileSystem, FileSystemModule } from '../../src/mount/index.ts';
import { MemoryFileSystem } from './memory-file-system.ts';

/** Those that answer nothing. */
const SILENT = new Set<string | symbol>(['begin', 'forget']);

export function promised(fileSystem: FileSystem): FileSystem {
  return new Proxy(fileSystem, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      const method = value.bind(target) as (...words: unknown[]) => unknown;
      if (SILENT.has(name)) return method;
      return async (...words: unknown[]) => {
        await turn();
        return await method(...words);
      };
    },
  });
}

export const openFileSystem: FileSystemModule['openFileSystem'] = async () => ({
  env: realEnv(),
  fileSystem: promised(new MemoryFileSystem()),
  async [Symbol.asyncDispose]() {},
});
