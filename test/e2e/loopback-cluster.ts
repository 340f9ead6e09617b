/**
 * A cluster of real processes on loopback, or in network namespaces: the first node is the home,
 * the others join it. Each has its data directory in the bed, under its name, and small stores
 * beside it; it keeps its port when it is started again.
 *
 * {@link LoopbackCluster.settle} waits until all nodes that run see each other and no others.
 */
import assert from 'node:assert/strict';
import { errorCode, mapBounded } from '../../src/base/index.ts';
import type { HoldfastClient } from '../../src/client/index.ts';
import { type Bed, freePort, type NodeProcess, until } from './harness.ts';

const MiB = 2 ** 20;
/** Room for a test's content and the store's own. */
const CAPACITY_BYTES = 1024 * MiB;
/** Starts of processes at once; more only wait for a core. */
const STARTS_AT_ONCE = 3;

export interface MemberPlan {
  readonly name: string;
  /** Such as --rack NAME. */
  readonly flags?: readonly string[];
  readonly storeCount?: number;
  readonly capacityBytes?: number;
  /** A free port on loopback when left out. */
  readonly listen?: readonly string[];
  readonly namespace?: string;
  /** More variables of its process. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Whether it is to have the keys of the default volume (default: yes). */
  readonly isGranted?: boolean;
}

interface Member {
  readonly plan: MemberPlan;
  readonly listen: readonly string[];
  process: NodeProcess | undefined;
  client: HoldfastClient | undefined;
}

export class LoopbackCluster implements AsyncDisposable {
  readonly bed: Bed;
  readonly home: string;
  readonly #hasRing: boolean;
  readonly #members = new Map<string, Member>();

  private constructor(bed: Bed, home: string, hasRing: boolean) {
    this.bed = bed;
    this.home = home;
    this.#hasRing = hasRing;
  }

  /**
   * Starts all of them; the default volume gets the scheme once there are stores enough.
   * @param plans the first is the home.
   * @param options.hasRing whether the others may carry names, too; else all of them are on the
   *   home.
   */
  static async start(
    bed: Bed,
    plans: readonly MemberPlan[],
    { scheme, hasRing = false }: { readonly scheme: string; readonly hasRing?: boolean },
  ): Promise<LoopbackCluster> {
    const [first, ...others] = plans;
    const cluster = new LoopbackCluster(bed, first!.name, hasRing);
    await cluster.#begin(first!, undefined);
    await mapBounded(others, STARTS_AT_ONCE, (plan) => cluster.join(plan));
    await cluster.settle();
    await cluster.#setScheme(scheme);
    return cluster;
  }

  /** Others hear of it from the home, a moment later. */
  async #setScheme(scheme: string): Promise<void> {
    await this.client(this.home).call('volume.policy', { name: 'default', scheme });
    const openers = this.running.filter((name) => this.#need(name).plan.isGranted !== false);
    await mapBounded(openers, STARTS_AT_ONCE, async (name) => {
      await until(`${name} knows the scheme`, async () => {
        const [volume] = await this.client(name).call('volume.list', {});
        return volume?.scheme === scheme;
      });
    });
  }

  /** Names of the nodes that run. */
  get running(): string[] {
    return [...this.#members.values()]
      .filter(({ process }) => process)
      .map(({ plan }) => plan.name);
  }

  /** Where a node listens. */
  readonly addresses = (name: string): readonly string[] => this.#need(name).listen;

  /** A node with an invitation of the home's. */
  async join(plan: MemberPlan): Promise<void> {
    const { token } = await this.client(this.home).call('cluster.invite', {});
    await this.#begin(plan, token);
    if (plan.isGranted === false) return;
    const client = this.client(plan.name);
    const { nodeId } = await client.call('status', {});
    await this.client(this.home).call('volume.grant', { name: 'default', node: nodeId });
    await until(`${plan.name} has the keys`, async () => await hasKeys(client));
  }

  async #begin(plan: MemberPlan, token: string | undefined): Promise<void> {
    const { name, flags = [], namespace } = plan;
    const listen = plan.listen ?? [`tls://127.0.0.1:${await freePort()}`];
    const member: Member = { plan, listen, process: undefined, client: undefined };
    const part = this.#hasRing || token === undefined ? [] : ['--no-metadata'];
    const all = ['--name', name, '--no-stores', ...part, '--listen', ...listen, ...flags];
    member.process = await this.bed.up({
      data: name,
      flags: all,
      ...(token === undefined ? {} : { token }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(plan.environment === undefined ? {} : { environment: plan.environment }),
    });
    member.client = member.process.connect();
    const { storeCount = 1, capacityBytes = CAPACITY_BYTES } = plan;
    for (let number = 1; number <= storeCount; number += 1) {
      const path = this.bed.path(`${name}-store-${number}`);
      await member.client.call('device.add', { path, capacityBytes });
    }
    this.#members.set(name, member);
  }

  #need(name: string): Member {
    const member = this.#members.get(name);
    assert.ok(member, `${name} is a node`);
    return member;
  }

  /** Of a node that runs; it lives as long as the node does. */
  client(name: string): HoldfastClient {
    const { client } = this.#need(name);
    assert.ok(client, `${name} runs`);
    return client;
  }

  process(name: string): NodeProcess {
    const { process } = this.#need(name);
    assert.ok(process, `${name} runs`);
    return process;
  }

  /** The end that nobody can prepare for. */
  async kill(name: string): Promise<void> {
    const member = this.#need(name);
    const running = this.process(name);
    member.client?.[Symbol.dispose]();
    member.process = undefined;
    member.client = undefined;
    await running.kill();
  }

  /** Starts a node again that was killed; flags change what was said before. */
  async restart(name: string, flags: readonly string[] = []): Promise<void> {
    const member = this.#need(name);
    const { namespace, environment } = member.plan;
    const place = {
      ...(namespace === undefined ? {} : { namespace }),
      ...(environment === undefined ? {} : { environment }),
    };
    member.process = await this.bed.up({ data: name, flags, ...place });
    member.client = member.process.connect();
  }

  /** Drains a node and waits until it has ended. */
  async leave(name: string): Promise<void> {
    const { process } = this.#need(name);
    await this.client(name).call('cluster.leave', {});
    const { exitCode } = await process!.ended();
    assert.equal(exitCode, 0, `${name} ends well when it has left`);
    this.#forget(name);
  }

  /** Takes a killed node out of the cluster. */
  async remove(name: string): Promise<void> {
    await this.client(this.home).call('node.remove', { node: name, isForced: false });
    this.#forget(name);
  }

  #forget(name: string): void {
    this.#members.get(name)?.client?.[Symbol.dispose]();
    this.#members.delete(name);
  }

  /** Waits until every node that runs sees all that run, with their stores, and no others. */
  async settle(): Promise<void> {
    const expected = this.running.toSorted();
    for (const name of expected) {
      await until(
        `${name} sees ${expected.join(' ')}`,
        async () => await this.#sees(name, expected),
      );
    }
  }

  async #sees(name: string, expected: readonly string[]): Promise<boolean> {
    const nodes = await this.client(name).call('peers.list', {});
    const there = nodes.filter(({ state }) => state === 'self' || state === 'alive');
    const names = there.map((node) => node.name).toSorted();
    const hasStores = there.every((node) => node.storeCount === this.#storeCount(node.name));
    return hasStores && names.join(' ') === expected.join(' ');
  }

  #storeCount(name: string): number {
    return this.#members.get(name)?.plan.storeCount ?? 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await mapBounded(this.running, STARTS_AT_ONCE, (name) => this.kill(name));
  }
}

async function hasKeys(client: HoldfastClient): Promise<boolean> {
  return await client.call('object.list', {}).then(
    () => true,
    (error: unknown) => {
      const code = errorCode(error);
      // The keys, and the right to ask, come at their own times.
      if (code === 'HF_WRONG_KEY' || code === 'HF_DENIED') return false;
      throw error;
    },
  );
}
