'use strict';
// Installs what package-lock.json says, once per content of that file, so that `npm start` and
// `npm test` work from a bare clone. Plain CommonJS that any Node since 16 runs.
//
// Two bootstraps at once are normal (`npm start` beside `npm test`): a lock file holds the process
// ids of bootstrap and of its npm, and is taken over only when none of them lives any more.
const fs = require('fs');
const path = require('path');
const childProcess = require('child_process');
const crypto = require('crypto');

const root = path.resolve(__dirname, '..');
const modules = path.join(root, 'node_modules');
const stampFile = path.join(modules, '.holdfast-stamp');
const lockFile = path.join(root, '.bootstrap.lock');

/** Settings of the calling npm that would change what `npm ci` installs. */
const INHERITED_SETTINGS =
  /^(NODE_ENV|npm_(lifecycle_.*|package_.*|command|config_(omit|include|only|production|dry_run|global|workspaces?|prefix|local_prefix|bin_links|package_lock_only)))$/i;

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function wantedStamp() {
  return crypto
    .createHash('sha256')
    .update(readText(path.join(root, 'package-lock.json')))
    .update(process.platform + process.arch)
    .digest('hex');
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

async function takeLock() {
  for (let attempt = 0; attempt < 3000; attempt++) {
    try {
      fs.writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
      return true;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holders = readText(lockFile).split(' ').filter(Boolean).map(Number);
    if (holders.length > 0 && !holders.some(isAlive)) fs.rmSync(lockFile, { force: true });
    else await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

/** Runs `npm ci`; asynchronous, since a blocked parent would orphan npm when it is told to stop. */
function npmCi() {
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !INHERITED_SETTINGS.test(name)),
  );
  const callingNpm = process.env.npm_execpath;
  const isNpm = callingNpm !== undefined && /npm-cli\.c?js$/.test(callingNpm);
  const command = isNpm ? process.execPath : 'npm';
  const flags = ['ci', '--include=dev', '--include=optional', '--engine-strict=false'];
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  console.error('bootstrap: installing dependencies (npm ci) ...');
  const child = childProcess.spawn(command, [...(isNpm ? [callingNpm] : []), ...flags, ...quiet], {
    cwd: root,
    env: environment,
    stdio: ['ignore', 2, 2],
  });
  if (child.pid) fs.appendFileSync(lockFile, ' ' + child.pid);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(error.code));
    child.on('exit', (code, signal) => resolve(signal || code));
  });
}

/** npm 10 leaves out the link to the pinned runtime, so scripts would run the system's Node. */
function linkRuntime() {
  const runtime = path.join(modules, `node-${process.platform}-${process.arch}`, 'bin', 'node');
  const link = path.join(modules, '.bin', 'node');
  if (fs.existsSync(runtime) && !fs.existsSync(link)) {
    fs.symlinkSync(path.relative(path.dirname(link), runtime), link);
  }
}

async function main() {
  const wanted = wantedStamp();
  if (readText(stampFile) === wanted) return;
  if (!(await takeLock())) throw new Error(`timed out waiting for ${lockFile}`);
  try {
    if (readText(stampFile) === wanted) return;
    const result = await npmCi();
    if (result !== 0) throw new Error(`npm ci failed: ${result}`);
    linkRuntime();
    fs.writeFileSync(stampFile, wanted);
  } finally {
    fs.rmSync(lockFile, { force: true });
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(`bootstrap: ${error.message}`);
    process.exit(1);
  },
);
