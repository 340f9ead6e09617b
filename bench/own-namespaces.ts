/**
 * Namespaces of network, mounts and processes for programs that become daemons, and a folder for
 * what they keep. Nothing of this machine's network, mounts and folders is touched.
 *
 * One process is the first of them all and waits for the end of its input, which is ours. When it
 * ends, the kernel kills every other one and takes down what they had mounted: so nothing is left,
 * however this process ends. The folder stays when that was by SIGKILL.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Where all of them listen: not loopback, which some refuse. */
export const OWN_ADDRESS = '10.77.0.1';

const UNSHARE = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

export class OwnNamespaces implements AsyncDisposable {
  readonly folder: string;
  /** What stands before a command that is to run in them. */
  readonly within: readonly string[];
  readonly #first: ChildProcess;
  readonly #onExit = () => this.#removeNow();
  #runCount = 0;

  private constructor(folder: string, first: ChildProcess, processId: string) {
    this.folder = folder;
    this.#first = first;
    this.within = ['nsenter', '--target', processId, '--mount', '--net', '--pid', '--'];
    process.on('exit', this.#onExit);
  }

  /**
   * Root alone can.
   * @param hidden folders of this machine in whose place they see empty ones.
   */
  static async open({ hidden }: { hidden: readonly string[] }): Promise<OwnNamespaces> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-mount-'));
    const commands = [
      'ip link set lo up',
      `ip address add ${OWN_ADDRESS}/24 dev lo`,
      ...hidden.map((place) => `mount --bind ${makeFolder(folder, place)} ${place}`),
      'echo ready',
      'exec cat',
    ];
    const first = spawn('unshare', [...UNSHARE, 'sh', '-c', commands.join(' && ')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const isReady = await Promise.race([
      once(first.stdout, 'data').then(() => true),
      once(first, 'close').then(() => false),
    ]);
    if (!isReady) {
      fs.rmSync(folder, { recursive: true });
      throw new Error('there are no namespaces for a peer');
    }
    return new OwnNamespaces(folder, first, childOf(first.pid!));
  }

  path(...names: readonly string[]): string {
    return path.join(this.folder, ...names);
  }

  makeFolder(...names: readonly string[]): string {
    return makeFolder(this.folder, ...names);
  }

  /** A file of these lines; its path. */
  makeFile(name: string, lines: readonly string[]): string {
    fs.writeFileSync(this.path(name), `${lines.join('\n')}\n`);
    return this.path(name);
  }

  /** Runs a command, which may leave a daemon behind. @returns what it said. @throws the same. */
  async run(...command: readonly string[]): Promise<string> {
    this.#runCount += 1;
    const file = this.path(`said-${this.#runCount}`);
    // A file, not a pipe: a daemon keeps it open.
    const output = fs.openSync(file, 'w');
    const [program, ...args] = [...this.within, ...command];
    const child = spawn(program!, args, { cwd: '/', stdio: ['ignore', output, output] });
    fs.closeSync(output);
    const [exitCode] = (await once(child, 'exit')) as [number | null];
    const said = fs.readFileSync(file, 'utf8').trim();
    if (exitCode !== 0) throw new Error(`${command.join(' ')}: exit ${exitCode}: ${said}`);
    return said;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#onExit);
    const ended = once(this.#first, 'exit');
    this.#first.stdin?.end();
    await ended;
    fs.rmSync(this.folder, { recursive: true });
  }

  #removeNow(): void {
    this.#first.kill('SIGKILL');
    // Those in it end a moment later.
    fs.rmSync(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

function makeFolder(...names: readonly string[]): string {
  const folder = path.join(...names);
  fs.mkdirSync(folder, { recursive: true });
  return folder;
}

/** The only one that it has. */
function childOf(processId: number): string {
  return fs.readFileSync(`/proc/${processId}/task/${processId}/children`, 'utf8').trim();
}
