/**
 * Mounts the file system in memory until SIGINT or SIGTERM: for pjdfstest, fio and curiosity.
 * Usage: node test/mount/main.ts MOUNTPOINT [--writeback] [--private] [--module FILE]
 * With --private for the user alone who runs it, without what only root may ask for.
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { realEnv } from '../../src/env/index.ts';
import { openMount } from '../../src/mount/index.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    writeback: { type: 'boolean', default: false },
    private: { type: 'boolean', default: false },
    module: { type: 'string' },
  },
});
const all = { allowsOthers: true, allowsSetUserId: true, allowsDevices: true };
const mount = await openMount({
  env: realEnv(),
  mountpoint: positionals[0]!,
  mount: { name: 'memory', ...(values.private ? {} : all) },
  behaviour: { writebackCache: values.writeback },
  module: values.module
    ? pathToFileURL(values.module)
    : new URL('./memory-module.ts', import.meta.url),
});
console.log('ready');
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), mount.ended]);
await mount.unmount({ isForced: true });
