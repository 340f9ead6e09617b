/**
 * Mounts the file system in memory until SIGINT or SIGTERM: for pjdfstest, fio and curiosity.
 * Usage: node test/mount/main.ts MOUNTPOINT [--writeback] [--module FILE]
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { realEnv } from '../../src/env/index.ts';
import { openMount } from '../../src/mount/index.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { writeback: { type: 'boolean', default: false }, module: { type: 'string' } },
});
const mount = await openMount({
  env: realEnv(),
  mountpoint: positionals[0]!,
  mount: { name: 'memory', allowsOthers: true, allowsSetUserId: true, allowsDevices: true },
  behaviour: { writebackCache: values.writeback },
  module: values.module
    ? pathToFileURL(values.module)
    : new URL('./memory-module.ts', import.meta.url),
});
console.log('ready');
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), mount.ended]);
await mount.unmount({ isForced: true });
