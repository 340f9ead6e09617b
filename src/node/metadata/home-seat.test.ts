/**
 * Aim: there is one home at nearly every moment, it is replaced some seconds after it went, nobody
 * is home who cannot read the registry, and who leaves gives the seat to another. Method: seats of
 * five nodes over one registry in memory, in virtual time.
 */
import { describe, expect, it, onTestFinished } from 'vitest';
import { HoldfastError, type NodeId } from '../../base/index.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { MemoryRegistry, type Registry } from '../../log/index.ts';
import { readHomeRecord, writeHome } from './home-record.ts';
import { HomeSeat } from './home-seat.ts';

const NODES = [1, 2, 3, 4, 5].map((number) => `${number}`.repeat(32) as NodeId);

async function openSeats() {
  const env = virtualEnv(1);
  const registry = new MemoryRegistry();
  await writeHome(registry, NODES[0]!);
  const alive = new Set(NODES);
  /** Those that cannot reach the registry. */
  const isCutOff = new Set<NodeId>();
  const end = new AbortController();
  const seats = new Map(
    NODES.map((self) => {
      const registryOf = reachable(registry, () => !isCutOff.has(self));
      const candidates = () => (isCutOff.has(self) ? [self] : [...alive]);
      const seat = new HomeSeat({ env, self, registry: registryOf, candidates, note() {} });
      return [self, seat];
    }),
  );
  const runs = [...seats.values()].map((seat) => seat.run({ signal: end.signal }));
  onTestFinished(async () => {
    end.abort();
    await Promise.all(runs);
  });
  const homes = () => NODES.filter((node) => seats.get(node)!.isHome && alive.has(node));
  return { env, registry, seats, alive, isCutOff, homes };
}

function reachable(registry: Registry, isReachable: () => boolean): Registry {
  const check = (): void => {
    if (!isReachable()) throw new HoldfastError('HF_UNAVAILABLE', 'no majority');
  };
  return {
    async get(key) {
      check();
      return await registry.get(key);
    },
    async list(prefix) {
      check();
      return await registry.list(prefix);
    },
    async compareAndSet(...change) {
      check();
      return await registry.compareAndSet(...change);
    },
    async [Symbol.asyncDispose]() {},
  };
}

describe('the seat of the home', () => {
  it('stays where it is while its holder answers', async () => {
    const { env, registry, homes } = await openSeats();
    await env.clock.sleep(60_000);
    expect(homes()).toEqual([NODES[0]]);
    expect(await readHomeRecord(registry)).toEqual({ node: NODES[0], generation: 1 });
  });

  it('passes to another some seconds after its holder went, once', async () => {
    const { env, registry, alive, homes } = await openSeats();
    await env.clock.sleep(2000);
    alive.delete(NODES[0]!);
    await env.clock.sleep(4000);
    expect((await readHomeRecord(registry))?.node).toBe(NODES[0]);
    await env.clock.sleep(4000);
    const record = (await readHomeRecord(registry))!;
    expect(record).toMatchObject({ generation: 2 });
    expect(homes()).toEqual([record.node]);
    expect(alive.has(record.node)).toBe(true);
    alive.add(NODES[0]!); // who comes back does not take it back
    await env.clock.sleep(30_000);
    expect(await readHomeRecord(registry)).toEqual(record);
  });

  it('is nobody that cannot read the registry, though nobody tells it', async () => {
    const { env, alive, isCutOff, homes, seats } = await openSeats();
    await env.clock.sleep(2000);
    isCutOff.add(NODES[0]!);
    await env.clock.sleep(10_000);
    expect(seats.get(NODES[0]!)!.isHome).toBe(false);
    alive.delete(NODES[0]!);
    await env.clock.sleep(10_000);
    expect(homes()).toHaveLength(1);
    isCutOff.delete(NODES[0]!);
    alive.add(NODES[0]!);
    await env.clock.sleep(10_000);
    expect(homes()).toHaveLength(1);
    expect(homes()).not.toContain(NODES[0]);
  });

  it('is given up by who leaves, and tells who waits', async () => {
    const { env, seats, homes } = await openSeats();
    await env.clock.sleep(2000);
    const heard = seats.get(NODES[0]!)!.changed(new AbortController().signal);
    expect(await seats.get(NODES[0]!)!.resign()).toBe(true);
    await heard;
    await env.clock.sleep(2000);
    expect(homes()).toHaveLength(1);
    expect(homes()).not.toContain(NODES[0]);
  });
});
