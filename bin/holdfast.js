#!/usr/bin/env node
// Starts the command line. Plain JavaScript that an older Node can read as well: there it hands
// over to the runtime pinned for development, when that is installed beside it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';

const NODE_MAJOR_MIN = 24;
const beside = (relative) => fileURLToPath(new URL(relative, import.meta.url));
// What a clone has. It installs the dependencies and a runtime of its own, and starts no node.
const bootstrap = beside('../tools/bootstrap.cjs');
const remedy = `run this once, then the command again: node ${bootstrap}`;

const major = Number(process.versions.node.split('.')[0]);
if (major >= NODE_MAJOR_MIN) {
  // The thread pool serves the disks; its size can be set only before its first use.
  process.env.UV_THREADPOOL_SIZE ??= '32';
  // Else it marks its whole heap for every 64 MiB of buffers: docs/design/0012-external-memory.md.
  // Later engines do so by themselves.
  if (major === 24) {
    v8.setFlagsFromString('--external-memory-accounted-in-global-limit');
  }
  module.enableCompileCache(); // halves the start of a short command
  const source = existsSync(beside('../src/cli/main.ts'));
  const loaded = import(source ? '../src/cli/main.ts' : '../dist/cli/main.js');
  const { main } = await loaded.catch((error) => {
    const isInstalled = existsSync(beside('../node_modules/commander')) || !existsSync(bootstrap);
    if (error.code !== 'ERR_MODULE_NOT_FOUND' || isInstalled) throw error;
    fail(`its dependencies are not installed; ${remedy}`);
  });
  process.exitCode = await main(process.argv.slice(2));
} else {
  handOver();
}

function fail(message) {
  console.error(`holdfast: ${message}`);
  process.exit(1);
}

function handOver() {
  const node = [
    `../node_modules/node-${process.platform}-${process.arch}/bin/node`,
    '../node_modules/.bin/node',
  ]
    .map(beside)
    .find((file) => existsSync(file));
  if (!node || process.env.HOLDFAST_HANDED_OVER) {
    const clone = existsSync(bootstrap) ? `, or ${remedy}` : '';
    fail(
      `needs Node.js ${NODE_MAJOR_MIN} or newer, this is ${process.version}; install it${clone}`,
    );
  }
  const child = spawn(
    node,
    [...process.execArgv, beside('./holdfast.js'), ...process.argv.slice(2)],
    { stdio: 'inherit', env: { ...process.env, HOLDFAST_HANDED_OVER: '1' } },
  );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('error', (error) => {
    fail(error.message);
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}
