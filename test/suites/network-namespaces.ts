/**
 * A local network of network namespaces: machines with an interface and an address each, plugged
 * into a bridge, which has a namespace of its own, so nothing of this machine's network is touched.
 * A plug can be pulled: then nothing passes and nobody is told, as with a cable.
 *
 * They need root and ip(8); where either is missing, tests are skipped and their title says why
 * ({@link describeWithNamespaces}). All namespaces go when this is disposed or the process ends.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { describe } from 'vitest';

const PREFIX_LENGTH = 24;

/** Why this machine has no namespaces for us; `undefined`: it has. */
export function namespaceObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can make network namespaces';
  try {
    using network = LocalNetwork.open();
    network.add('probe', '10.77.0.1');
    return undefined;
  } catch (error) {
    return `ip netns fails here: ${String(error).split('\n', 1)[0]}`;
  }
}

/** A `describe` that is skipped where there are no namespaces, with the reason in its title. */
export function describeWithNamespaces(title: string, tests: () => void): void {
  const obstacle = namespaceObstacle();
  const reason = obstacle === undefined ? '' : ` (SKIPPED: ${obstacle})`;
  describe.skipIf(obstacle !== undefined)(title + reason, tests);
}

export class LocalNetwork implements Disposable {
  readonly #prefix: string;
  readonly #names: string[] = [];
  readonly #onExit = () => this.#removeAll();

  private constructor(prefix: string) {
    this.#prefix = prefix;
    process.on('exit', this.#onExit);
  }

  /** @throws what ip(8) says. */
  static open(): LocalNetwork {
    // Namespaces are the machine's: networks of several processes must not meet.
    const network = new LocalNetwork(`holdfast-${randomBytes(4).toString('hex')}`);
    try {
      network.#makeNamespace('switch');
      const bridge = ['link', 'add', 'bridge', 'type', 'bridge', 'mcast_snooping', '0'];
      ip(['-n', network.namespace('switch'), ...bridge]);
      ip(['-n', network.namespace('switch'), 'link', 'set', 'bridge', 'up']);
    } catch (error) {
      network[Symbol.dispose]();
      throw error;
    }
    return network;
  }

  /** The name of a machine's namespace, for `ip netns exec`. */
  namespace(machine: string): string {
    return `${this.#prefix}-${machine}`;
  }

  /** A machine with this address, plugged in. */
  add(machine: string, address: string): void {
    this.#makeNamespace(machine);
    const [inside, hub] = [this.namespace(machine), this.namespace('switch')];
    const plug = ['peer', 'name', machine, 'netns', hub];
    ip(['link', 'add', 'eth0', 'netns', inside, 'type', 'veth', ...plug]);
    ip(['-n', hub, 'link', 'set', machine, 'master', 'bridge', 'up']);
    ip(['-n', inside, 'link', 'set', 'lo', 'up']);
    ip(['-n', inside, 'link', 'set', 'eth0', 'up']);
    this.setAddress(machine, address);
  }

  /** Takes the place of the one it had. */
  setAddress(machine: string, address: string): void {
    const inside = this.namespace(machine);
    ip(['-n', inside, 'address', 'flush', 'dev', 'eth0', 'scope', 'global']);
    ip(['-n', inside, 'address', 'add', `${address}/${PREFIX_LENGTH}`, 'dev', 'eth0']);
  }

  pull(machine: string): void {
    ip(['-n', this.namespace('switch'), 'link', 'set', machine, 'down']);
  }

  plug(machine: string): void {
    ip(['-n', this.namespace('switch'), 'link', 'set', machine, 'up']);
  }

  #makeNamespace(machine: string): void {
    const name = this.namespace(machine);
    ip(['netns', 'add', name]);
    this.#names.push(name);
  }

  [Symbol.dispose](): void {
    this.#removeAll();
    process.off('exit', this.#onExit);
  }

  #removeAll(): void {
    for (const name of this.#names.splice(0)) ip(['netns', 'delete', name]);
  }
}

function ip(args: readonly string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}
