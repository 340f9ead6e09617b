/**
 * The nodes under test: five daemons, each on a machine of its own where network namespaces can be
 * made, with a ring between them; and what is done to them. A *machine* that is killed or paused
 * takes its etcd with it, as a power cut would.
 *
 * Clients here are of the control socket, not of the process: they outlive it.
 */
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { errorMessage } from '../../src/base/index.ts';
import { connect, type HoldfastClient } from '../../src/client/index.ts';
import { realEnv } from '../../src/env/index.ts';
import { EtcdMember, type EtcdStatus } from '../../src/log/index.ts';
import { findEtcd } from '../../src/node/index.ts';
import { type Bed, ringProcess, until } from '../e2e/harness.ts';
import { LoopbackCluster, type MemberPlan } from '../e2e/loopback-cluster.ts';
import { LocalNetwork, namespaceObstacle } from '../suites/network-namespaces.ts';

const PORT = 7450;
const CLOCK_PRELOAD = fileURLToPath(new URL('skewed-clock.ts', import.meta.url));
const STATUS_MS = 1000;
/** The cells have come to rest when none has come or gone on any node for so long. */
const REST_MS = 5000;
const REST_MS_MAX = 90_000;

/** Why there can be no ring here; `undefined`: there can. */
export function ringObstacle(): string | undefined {
  const etcd = findEtcd(process.env['PATH'] ?? '');
  return etcd === undefined ? 'no etcd on PATH; install etcd-server' : undefined;
}

export interface GroundOptions {
  readonly nodeCount: number;
  readonly storesPerNode?: number;
  readonly scheme?: string;
  readonly capacityBytes?: number;
  /** Whether they share this machine's namespaces, so that their mounts can be seen from here. */
  readonly isOnLoopback?: boolean;
  /** Whether the cells are still to be spread while the node is used already. */
  readonly isFresh?: boolean;
}

export class Ground implements AsyncDisposable {
  readonly cluster: LoopbackCluster;
  readonly #network: LocalNetwork | undefined;
  readonly #storeCount: number;
  readonly #clients = new Map<string, HoldfastClient>();
  readonly #paused = new Set<string>();
  readonly #pulled = new Set<string>();
  #made: number;

  private constructor(
    cluster: LoopbackCluster,
    { network, storeCount, made }: { network?: LocalNetwork; storeCount: number; made: number },
  ) {
    this.cluster = cluster;
    this.#network = network;
    this.#storeCount = storeCount;
    this.#made = made;
  }

  /** Resolves when the metadata of several is in a ring, and the cells have been spread. */
  static async open(bed: Bed, options: GroundOptions): Promise<Ground> {
    const { nodeCount, storesPerNode: storeCount = 1, scheme = 'copy-2' } = options;
    const isApart = !options.isOnLoopback && namespaceObstacle() === undefined;
    const network = isApart ? LocalNetwork.open() : undefined;
    const capacity = options.capacityBytes ? { capacityBytes: options.capacityBytes } : {};
    try {
      const plans = Array.from({ length: nodeCount }, (_, i) => ({
        ...planOf(bed, network, { number: i + 1, storeCount }),
        ...capacity,
      }));
      const cluster = await LoopbackCluster.start(bed, plans, { scheme, hasRing: true });
      const ground = new Ground(cluster, {
        ...(network && { network }),
        storeCount,
        made: nodeCount,
      });
      if (nodeCount > 1) await ground.untilInRing();
      if (nodeCount > 1 && !options.isFresh) await ground.rest();
      return ground;
    } catch (error) {
      await bed.stopAll();
      network?.[Symbol.dispose]();
      throw error;
    }
  }

  get bed(): Bed {
    return this.cluster.bed;
  }

  /** Of nodes that run, paused or cut off ones too. */
  get running(): string[] {
    return this.cluster.running;
  }

  /** Whether nodes can be cut off from each other. */
  get hasNetwork(): boolean {
    return this.#network !== undefined;
  }

  isWell(name: string): boolean {
    return this.running.includes(name) && !this.#paused.has(name) && !this.#pulled.has(name);
  }

  /** Of a node, whether it runs or not. */
  client(name: string): HoldfastClient {
    let client = this.#clients.get(name);
    client ??= connect({ socketPath: this.bed.path(name, 'control.sock') }, { isStrict: true });
    this.#clients.set(name, client);
    return client;
  }

  async kill(name: string): Promise<void> {
    const etcd = ringProcess(this.bed.path(name));
    signal(etcd, 'SIGKILL');
    await this.cluster.kill(name);
    signal(ringProcess(this.bed.path(name)), 'SIGKILL');
  }

  async restart(name: string): Promise<void> {
    await this.cluster.restart(name);
  }

  pause(name: string): void {
    this.#paused.add(name);
    this.#signal(name, 'SIGSTOP');
  }

  resume(name: string): void {
    this.#signal(name, 'SIGCONT');
    this.#paused.delete(name);
  }

  #signal(name: string, what: NodeJS.Signals): void {
    signal(this.cluster.process(name).child.pid, what);
    signal(ringProcess(this.bed.path(name)), what);
  }

  /** Its cable. */
  pull(name: string): void {
    this.#pulled.add(name);
    this.#network?.pull(name);
  }

  plug(name: string): void {
    this.#network?.plug(name);
    this.#pulled.delete(name);
  }

  /** Moves its wall clock; 0 is the right time. */
  setClock(name: string, offsetMs: number): void {
    fs.writeFileSync(clockFile(this.bed, name), String(offsetMs));
  }

  /** A new node. @returns its name. */
  async join(): Promise<string> {
    this.#made += 1;
    const about = { number: this.#made, storeCount: this.#storeCount };
    const plan = planOf(this.bed, this.#network, about);
    await this.cluster.join(plan);
    return plan.name;
  }

  async leave(name: string): Promise<void> {
    await this.cluster.leave(name);
  }

  /** Ends what was done to the nodes that there still are. */
  async heal(down: readonly string[] = []): Promise<void> {
    for (const name of this.#paused) this.resume(name);
    for (const name of this.#pulled) this.plug(name);
    for (const name of this.running) this.setClock(name, 0);
    for (const name of down) if (!this.running.includes(name)) await this.restart(name);
    for (const name of this.running) {
      await until(`${name} sees all that run`, async () => await this.#seesAll(name));
    }
  }

  /** @throws when one has ended by itself, with what it said. */
  assertAlive(): void {
    for (const name of this.running) {
      const { child, stderr } = this.cluster.process(name);
      if (child.exitCode === null && child.signalCode === null) continue;
      throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode}: ${stderr}`);
    }
  }

  async #seesAll(name: string): Promise<boolean> {
    this.assertAlive();
    const nodes = await this.client(name)
      .call('peers.list', {})
      .catch(() => []);
    const there = nodes.filter(({ state }) => state === 'self' || state === 'alive');
    const names = new Set(there.map((node) => node.name));
    return this.running.every((other) => names.has(other));
  }

  async untilInRing(): Promise<void> {
    const areIn = (): boolean => this.running.every((name) => this.#isIn(name));
    await until('the metadata is in a ring', areIn).catch((error: unknown) => {
      const lines = this.running.map((name) => `${name}: ${this.#lastWarnings(name)}`);
      throw new Error(`${errorMessage(error)}\n${lines.join('\n')}`, { cause: error });
    });
  }

  /** Waits until no cell has moved for a while. */
  async rest(): Promise<void> {
    const endMs = performance.now() + REST_MS_MAX;
    let seen = this.#cells();
    for (let sinceMs = performance.now(); performance.now() - sinceMs < REST_MS;) {
      await sleep(250);
      const now = this.#cells();
      if (now !== seen) sinceMs = performance.now();
      seen = now;
      if (performance.now() > endMs) throw new Error(`the cells never come to rest: ${seen}`);
    }
  }

  /** Of its log, for people. */
  #lastWarnings(name: string): string {
    const lines = this.#read(name, 'holdfast.log').split('\n');
    const place = this.#read(name, 'metadata.json').trim();
    return [place, ...lines.filter((line) => /"level":(30|40|50)/.test(line)).slice(-8)].join(
      '\n  ',
    );
  }

  /** Keeps the logs of all nodes that there are, for people. */
  keepLogs(folder: string): void {
    fs.mkdirSync(folder, { recursive: true });
    for (const name of this.running) {
      fs.copyFileSync(this.bed.path(name, 'holdfast.log'), path.join(folder, `${name}.log`));
    }
  }

  #isIn(name: string): boolean {
    return this.#read(name, 'metadata.json').includes('"etcd"');
  }

  #cells(): string {
    return this.running.map((name) => `${name}: ${this.cellsOn(name).join(' ')}`).join('; ');
  }

  /** Cells with a database there. */
  cellsOn(name: string): string[] {
    const files = fs.readdirSync(this.bed.path(name, 'cells'));
    return files.filter((file) => file.endsWith('.sqlite')).map((file) => file.slice(0, -7));
  }

  /** Cells that a node has taken over, as its log tells, in order. */
  takenBy(name: string): string[] {
    const lines = this.#read(name, 'holdfast.log').split('\n');
    const taken = lines.filter((line) => line.includes('"taking over a cell"'));
    return taken.map((line) => (JSON.parse(line) as { readonly cell: string }).cell);
  }

  /** Nodes with a seat in the ring, as the newest record says that a node knows. */
  async ringMembers(): Promise<string[]> {
    const ids = new Map<string, string>();
    for (const name of this.running) {
      ids.set((await this.client(name).call('status', {})).nodeId, name);
    }
    const records = this.running.flatMap((name) => {
      const text = this.#read(name, 'ring', 'ring.json');
      return text === '' ? [] : [JSON.parse(text) as RingFile];
    });
    const newest = records.toSorted((a, b) => b.life - a.life || b.version - a.version)[0];
    return (newest?.members ?? []).flatMap(({ node }) => ids.get(node) ?? []);
  }

  /** The node whose etcd leads; `undefined` while none does. */
  async ringLeader(): Promise<string | undefined> {
    for (const name of this.running) {
      if (this.#paused.has(name)) continue;
      const status = await this.#etcdStatus(name);
      if (status && status.leader !== '0' && status.leader === status.id) return name;
    }
    return undefined;
  }

  async #etcdStatus(name: string): Promise<EtcdStatus | undefined> {
    if (ringProcess(this.bed.path(name)) === undefined) return undefined;
    const dial = async (): Promise<net.Socket> => {
      const socket = net.connect({ path: this.bed.path(name, 'ring', 'client:1') });
      await once(socket, 'connect');
      return socket;
    };
    const { clock } = realEnv();
    await using member = new EtcdMember({ dial, clock, deadlineMs: STATUS_MS });
    return await member.status().catch(() => undefined);
  }

  #read(name: string, ...file: readonly string[]): string {
    const full = this.bed.path(name, ...file);
    return fs.existsSync(full) ? fs.readFileSync(full, 'utf8') : '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#paused) this.resume(name);
    for (const client of this.#clients.values()) client[Symbol.dispose]();
    for (const name of this.running) await this.kill(name);
    this.#network?.[Symbol.dispose]();
  }
}

interface RingFile {
  readonly life: number;
  readonly version: number;
  readonly members: readonly { readonly node: string }[];
}

function planOf(
  bed: Bed,
  network: LocalNetwork | undefined,
  { number, storeCount }: { readonly number: number; readonly storeCount: number },
): MemberPlan {
  const name = `n${number}`;
  fs.writeFileSync(clockFile(bed, name), '0');
  const environment = {
    NODE_OPTIONS: `--import=${CLOCK_PRELOAD}`,
    HOLDFAST_TEST_CLOCK: clockFile(bed, name),
  };
  const plan = { name, environment, storeCount };
  if (!network) return plan;
  const address = `10.77.0.${number}`;
  network.add(name, address);
  const listen = [`tls://${address}:${PORT}`];
  return { ...plan, listen, namespace: network.namespace(name) };
}

function clockFile(bed: Bed, name: string): string {
  return bed.path(`${name}.clock`);
}

/** Unless it has ended. */
function signal(pid: number | undefined, what: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, what);
  } catch {}
}
