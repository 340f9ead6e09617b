/**
 * Aim: the table holds its invariants whatever it is told, in whatever order. Method: statements in
 * random orders and mixes (fast-check), and each arrow of the state machine by hand. Records are
 * real; keys are made once.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LIMITS, type NodeId } from '../base/index.ts';
import type { NodeKey } from '../crypto/index.ts';
import { keyOf } from '../../test/suites/net-bed.ts';
import { bucketOf, byDistanceTo } from './buckets.ts';
import { Discovery } from './discovery.ts';
import { FailureDetector } from './failure-detector.ts';
import { GOSSIP_RULES } from './gossip-rules.ts';
import { decodeRecord, isGenuine, makeRecord, type MemberRecord } from './member-record.ts';
import { MemberTable } from './member-table.ts';
import { SeededRandom } from '../../sim/random.ts';
import { type NetAddress, parseAddress } from './address.ts';

const TIMES = { suspectMs: 10_000, deadMs: 1_000_000, leftMs: 100_000 };
const KEYS = Array.from({ length: 40 }, (_, index) => keyOf(index));
const SELF = KEYS[0]!;

function recordOf(key: NodeKey, incarnation: number, hasLeft = false): MemberRecord {
  const addresses = [parseAddress('tls://10.0.0.7:7450')];
  const labels = { rack: 'r1' };
  const credentials = new Uint8Array([1, 2, 3]);
  return makeRecord(key, { incarnation, hasLeft, addresses, labels, credentials });
}

function tableOf(self: NodeKey = SELF, membersMax = 1000): MemberTable {
  const options = {
    ...TIMES,
    self: recordOf(self, 1),
    rules: GOSSIP_RULES,
    membersMax,
    isMember: () => true,
    incarnationMax: () => 1_000_000,
  };
  return new MemberTable(options, 0);
}

describe('a record', () => {
  it('comes back as it was, and is genuine', () => {
    const record = recordOf(SELF, 42, true);
    const decoded = decodeRecord(record.bytes);
    expect(decoded).toEqual(record);
    expect(isGenuine(decoded)).toBe(true);
  });

  it('is not genuine when any byte was changed', () => {
    const { bytes } = recordOf(SELF, 42);
    for (let at = 0; at < bytes.length; at++) {
      const altered = bytes.slice();
      altered[at]! ^= 4;
      let isTaken = false;
      try {
        isTaken = isGenuine(decodeRecord(altered));
      } catch {
        // as good
      }
      expect([at, isTaken]).toEqual([at, false]);
    }
  });

  it('is bounded when it is made and when it is read', () => {
    const statement = { ...recordOf(SELF, 1) };
    const address = parseAddress('tls://10.0.0.7:7450');
    const tooMuch = [
      { ...statement, addresses: Array.from({ length: 9 }, () => address) },
      { ...statement, credentials: new Uint8Array(LIMITS.recordCredentialsBytesMax + 1) },
      { ...statement, labels: { rack: 'x'.repeat(LIMITS.labelCharsMax + 1) } },
      { ...statement, labels: { 'not a key': 'x' } },
    ];
    for (const each of tooMuch) expect(() => makeRecord(SELF, each)).toThrow(/./);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => decodeRecord(bytes)).toThrow(/./);
      }),
      { numRuns: 200 },
    );
  });
});

describe('the table', () => {
  it('passes each arrow of its state machine', () => {
    const table = tableOf();
    const [, key] = KEYS as [NodeKey, NodeKey];
    const health = (): string | undefined => table.get(key.nodeId)?.health;
    expect(table.offer(recordOf(key, 5), 0)).toBe('taken');
    expect(table.offer(recordOf(key, 5), 0)).toBe('known');
    expect(table.offer(recordOf(key, 4), 0)).toBe('old');
    table.suspect(key.nodeId, 100);
    expect(health()).toBe('suspect');
    expect(table.offer(recordOf(key, 6), 200)).toBe('taken');
    expect(health()).toBe('alive');
    table.suspect(key.nodeId, 1000);
    table.tick(1000 + TIMES.suspectMs - 1);
    expect(health()).toBe('suspect');
    table.tick(1000 + TIMES.suspectMs);
    expect(health()).toBe('dead');
    expect(table.offer(recordOf(key, 6), 12_000)).toBe('known');
    expect(table.offer(recordOf(key, 7), 12_000)).toBe('taken');
    expect(health()).toBe('alive');
    expect(table.offer(recordOf(key, 8, true), 13_000)).toBe('taken');
    expect(health()).toBe('left');
    table.takeChanges();
    table.tick(13_000 + TIMES.leftMs);
    expect(health()).toBeUndefined();
    expect([...table.takeChanges()]).toEqual([key.nodeId]);
  });

  it('believes no claim about another incarnation than the one it knows', () => {
    const table = tableOf();
    const { nodeId: node } = KEYS[1]!;
    table.offer(recordOf(KEYS[1]!, 5), 0);
    for (const incarnation of [4, 6]) {
      expect(table.claim({ node, incarnation, health: 'dead', ageMs: 0 }, 0)).toBe(false);
    }
    // Nor that it lives or has left: that takes its own word.
    for (const health of ['alive', 'left'] as const) {
      expect(table.claim({ node, incarnation: 5, health, ageMs: 0 }, 0)).toBe(false);
    }
    expect(table.get(node)!.health).toBe('alive');
    expect(table.claim({ node, incarnation: 5, health: 'suspect', ageMs: 9e9 }, 0)).toBe(true);
    table.tick(TIMES.suspectMs - 1);
    expect(table.get(node)!.health).toBe('suspect');
  });

  it('gives a suspect the time that this node itself did not run', () => {
    const table = tableOf();
    const { nodeId: node } = KEYS[1]!;
    table.offer(recordOf(KEYS[1]!, 5), 0);
    table.suspect(node, 1000);
    table.tick(61_000, 58_000);
    expect(table.get(node)!.health).toBe('suspect');
    table.tick(70_000);
    expect(table.get(node)!.health).toBe('dead');
  });

  it('forgets the dead for good, though others still tell of them', () => {
    const [one, two] = [tableOf(), tableOf(KEYS[2])];
    const record = recordOf(KEYS[1]!, 5);
    for (const table of [one, two]) table.offer(record, 0);
    const dead = { node: record.node, incarnation: 5, health: 'dead', ageMs: 0 } as const;
    one.claim(dead, 0);
    two.claim(dead, 0);
    one.tick(TIMES.deadMs);
    expect(one.get(record.node)).toBeUndefined();
    // The other one is a little behind and compares tables once more.
    const nowMs = TIMES.deadMs - 1000;
    const told = two.compare(one.cells(nowMs), 0, nowMs);
    expect(told.entries.map(({ node }) => node)).not.toContain(record.node);
    const entry = two.entry(record.node, nowMs)!;
    const comparison = { cells: [], entries: [entry] };
    expect(one.difference(comparison, TIMES.deadMs).wants).toEqual([]);
  });

  it('agrees with any other that was told the same, in any order', () => {
    const statement = fc.record({
      key: fc.integer({ min: 1, max: 4 }),
      incarnation: fc.integer({ min: 1, max: 3 }),
      health: fc.constantFrom('alive', 'suspect', 'dead', 'left'),
    });
    const records = new Map<string, MemberRecord>();
    const tell = (
      table: MemberTable,
      {
        key,
        incarnation,
        health,
      }: {
        key: number;
        incarnation: number;
        health: 'alive' | 'suspect' | 'dead' | 'left';
      },
    ): void => {
      const hasLeft = health === 'left';
      const name = `${key} ${incarnation} ${hasLeft}`;
      const record = records.get(name) ?? recordOf(KEYS[key]!, incarnation, hasLeft);
      records.set(name, record);
      table.offer(record, 0);
      table.claim({ node: record.node, incarnation, health, ageMs: 0 }, 0);
    };
    fc.assert(
      fc.property(
        fc.array(statement, { maxLength: 12 }),
        fc.infiniteStream(fc.nat()),
        (all, order) => {
          const keys = all.map((each) => ({ each, at: order.next().value as number }));
          const shuffled = keys.toSorted((a, b) => a.at - b.at).map(({ each }) => each);
          const [one, two] = [tableOf(), tableOf()];
          for (const each of all) tell(one, each);
          for (const each of shuffled) tell(two, each);
          expect(two.cells(0)).toEqual(one.cells(0));
          expect(one.compare(two.cells(0), 0, 0).cells).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('is bounded, and prefers to know some of each bucket', () => {
    const table = tableOf(SELF, 20);
    const outcomes = KEYS.slice(1).map((key) => table.offer(recordOf(key, 5), 0));
    expect(table.size).toBe(20);
    expect(outcomes).toContain('full');
    const near = KEYS.slice(1).filter(({ nodeId }) => bucketOf(SELF.nodeId, nodeId) >= 2);
    for (const { nodeId } of near.slice(0, 3)) expect(table.get(nodeId)).toBeDefined();
  });
});

describe('distance', () => {
  it('is that of the exclusive-or', () => {
    const hex = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n });
    const id = (value: bigint): NodeId => value.toString(16).padStart(32, '0') as NodeId;
    fc.assert(
      fc.property(hex, hex, hex, (a, b, target) => {
        const difference = (a ^ target) - (b ^ target);
        const sign = difference < 0n ? -1 : difference > 0n ? 1 : 0;
        expect(Math.sign(byDistanceTo(id(target))(id(a), id(b)))).toBe(sign);
        if (a !== b) expect(bucketOf(id(a), id(b))).toBe(128 - (a ^ b).toString(2).length);
      }),
    );
  });
});

describe('whom to probe', () => {
  const ids = KEYS.slice(0, 10).map(({ nodeId }) => nodeId);

  it('is everybody once in a round, in changing order', () => {
    const detector = new FailureDetector(new SeededRandom(1n));
    const round = (): NodeId[] =>
      ids.map(() =>
        detector.next(
          () => ids,
          () => true,
        )!,
      );
    const [one, two] = [round(), round()];
    expect(new Set(one)).toEqual(new Set(ids));
    expect(new Set(two)).toEqual(new Set(ids));
    expect(one).not.toEqual(two);
    detector.promote(ids[3]!);
    expect(
      detector.next(
        () => ids,
        () => true,
      ),
    ).toBe(ids[3]);
    expect(
      detector.next(
        () => [],
        () => false,
      ),
    ).toBeUndefined();
  });

  it('is one of the dead at a rate that does not grow with the cluster', () => {
    const tries = (aliveCount: number): number => {
      const detector = new FailureDetector(new SeededRandom(2n));
      let count = 0;
      for (let tick = 0; tick < 20_000; tick++) {
        if (detector.nextDead(ids.slice(0, 1), aliveCount) !== undefined) count += 1;
      }
      return (count * (aliveCount + 1)) / 20_000; // of all together, per tick
    };
    for (const aliveCount of [1, 9, 99])
      expect(Math.abs(tries(aliveCount) - 0.2)).toBeLessThan(0.1);
  });
});

describe('seeds', () => {
  const seeds = ['tls://a:1', 'tls://b:1', 'tls://c:1'].map(parseAddress);

  const nobody = (): ReadonlySet<NodeId> => new Set();
  const somebody = (): ReadonlySet<NodeId> => new Set([SELF.nodeId]);

  it('are all tried while alone, ever more slowly', () => {
    const discovery = new Discovery({ seeds, own: [seeds[2]!] }, new SeededRandom(3n));
    expect(discovery.due(0, nobody)).toEqual(seeds.slice(0, 2));
    expect(discovery.due(100, nobody)).toEqual([]);
    const times: number[] = [];
    for (let ms = 0; ms < 300_000; ms += 100) {
      if (discovery.due(ms, nobody).length > 0) times.push(ms);
    }
    expect(times.length).toBeGreaterThan(8);
    expect(times.length).toBeLessThan(30);
    discovery.beginAgain();
    expect(discovery.due(300_001, nobody)).toHaveLength(2);
  });

  it('are tried one now and then later, but not where a living node was met', () => {
    const discovery = new Discovery({ seeds, own: [] }, new SeededRandom(3n));
    discovery.met(seeds[0]!, SELF.nodeId);
    const tried = new Set<NetAddress>();
    let count = 0;
    for (let ms = 0; ms < 600_000; ms += 1000) {
      for (const seed of discovery.due(ms, somebody)) {
        tried.add(seed);
        count += 1;
      }
    }
    expect(tried).toEqual(new Set(seeds.slice(1)));
    expect(count).toBeLessThanOrEqual(40);
  });

  it('are tried in parts when they are many', () => {
    const many = Array.from({ length: 500 }, (_, n) => parseAddress(`tls://host-${n}:1`));
    const discovery = new Discovery({ seeds: many, own: [] }, new SeededRandom(4n));
    expect(discovery.due(0, nobody)).toHaveLength(LIMITS.seedsPerTryMax);
  });
});
