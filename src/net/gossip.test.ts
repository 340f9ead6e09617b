/**
 * Aim: who is there becomes known to all, who dies is found dead, who is slow or parted comes back.
 * Method: many nodes on virtual time over direct calls (test/suites/gossip-bed.ts); each statement
 * of the protocol that protects against false word is broken once, and the same check must fail.
 */
import { describe, expect, it } from 'vitest';
import { LIMITS } from '../base/index.ts';
import { type BedNode, failureOf, GossipBed } from '../../test/suites/gossip-bed.ts';
import { keyOf } from '../../test/suites/net-bed.ts';
import { METHOD, readShare, shareMessage } from './gossip-message.ts';
import { GOSSIP_RULES, type GossipRules } from './gossip-rules.ts';
import { decodeRecord, makeRecord, type MemberStatement } from './member-record.ts';

const SECOND = 1000;
const LONG = 200;

async function bedOf(count: number, seed: number): Promise<GossipBed> {
  const bed = new GossipBed(seed);
  for (let index = 0; index < count; index++) await bed.add(index === 0 ? [] : [0]);
  return bed;
}

function isComplete(bed: GossipBed, nodes: readonly BedNode[] = bed.nodes): boolean {
  return nodes.every((node) => bed.aliveCount(node) >= nodes.length - 1);
}

describe('knowing each other', () => {
  it.each([1, 2, 3, 4, 5])(
    'a chain of three is complete within two intervals (%i)',
    async (seed) => {
      await using bed = new GossipBed(seed);
      await bed.add([]);
      await bed.add([0]);
      await bed.add([1]);
      const steps = await bed.until(() => isComplete(bed), 20, LIMITS.gossipMs / 10);
      expect(steps).toBeLessThanOrEqual(20);
      expect(bed.nodes[2]!.gossip.members()[0]!.labels).toMatchObject({ rack: expect.any(String) });
    },
  );

  it('200 nodes with one seed know each other in a few rounds', async () => {
    await using bed = await bedOf(200, 1);
    const rounds = await bed.until(() => isComplete(bed), 30);
    const { byteCount } = bed;
    await bed.env.clock.sleep(5 * SECOND);
    const { callCount, byteCount: settled } = bed;
    await bed.env.clock.sleep(5 * SECOND);
    const quiet = { calls: bed.callCount - callCount, bytes: bed.byteCount - settled };
    console.log(
      `200 nodes: complete after ${rounds} rounds, ${Math.round(byteCount / 200)} bytes each; ` +
        `at rest ${quiet.calls / 1000} calls/s and ${Math.round(quiet.bytes / 1000)} B/s each`,
    );
    expect(rounds).toBeLessThanOrEqual(8);
    // At rest: one call a second and node, of a fixed size.
    expect(quiet.bytes / quiet.calls).toBeLessThan(1024);
    expect(quiet.calls / 1000).toBeLessThan(1.5);
  });

  it('tells watchers what changes', async () => {
    await using bed = await bedOf(2, 2);
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { node, member } of bed.nodes[0]!.gossip.watch({ signal: stop.signal })) {
        seen.push(`${node === bed.nodes[1]!.id ? 'other' : '?'} ${member?.health}`);
      }
    })();
    await bed.until(() => isComplete(bed), 5);
    await bed.kill(bed.nodes[1]!);
    await bed.env.clock.sleep(20 * SECOND);
    stop.abort();
    await watching;
    expect(seen).toEqual(['other alive', 'other suspect', 'other dead']);
  });
});

describe('failures', () => {
  it('a killed node is suspected, then dead, everywhere', async () => {
    await using bed = await bedOf(12, 3);
    await bed.until(() => isComplete(bed), 20);
    const [victim, ...rest] = bed.nodes as [BedNode, ...BedNode[]];
    await bed.kill(victim);
    const suspectedS = await bed.until(
      () => rest.some((node) => bed.healthAt(node, victim) === 'suspect'),
      10,
    );
    const deadS = await bed.until(
      () => rest.every((node) => bed.healthAt(node, victim) === 'dead'),
      20,
    );
    expect(suspectedS).toBeLessThanOrEqual(5);
    expect(deadS).toBeLessThanOrEqual(14);
    expect(isComplete(bed, rest)).toBe(true);
  });

  it('a node that was stopped for less than the time to answer is never dead', async () => {
    await using bed = await bedOf(8, 4);
    await bed.until(() => isComplete(bed), 20);
    const [slow, ...rest] = bed.nodes as [BedNode, ...BedNode[]];
    const thaw = Promise.withResolvers<void>();
    const incarnation = rest[0]!.gossip.members().find(({ node }) => node === slow.id)!.incarnation;
    let wasDead = false;
    const isSuspected = (): boolean => {
      wasDead ||= rest.some((node) => bed.healthAt(node, slow) === 'dead');
      return rest.every((node) => bed.healthAt(node, slow) === 'suspect');
    };
    bed.freeze(slow, thaw.promise);
    await bed.until(isSuspected, 15);
    thaw.resolve();
    const cleared = () => {
      isSuspected();
      return isComplete(bed) && isComplete(bed, rest);
    };
    await bed.until(cleared, 10);
    expect(wasDead).toBe(false);
    const after = rest[0]!.gossip.members().find(({ node }) => node === slow.id)!;
    expect(after.incarnation).toBeGreaterThan(incarnation);
    expect(slow.metrics.get('net_refutations')).toBeGreaterThan(0);
  });

  it('a node that only one other cannot reach stays alive', async () => {
    await using bed = await bedOf(5, 5);
    await bed.until(() => isComplete(bed), 20);
    bed.isCut = (a, b) => (a === 1 && b === 2) || (a === 2 && b === 1);
    let wasSuspected = false;
    for (let second = 0; second < 40; second++) {
      await bed.env.clock.sleep(SECOND);
      wasSuspected ||= bed.nodes.some((node) =>
        node.gossip.members().some(({ health }) => health !== 'alive'),
      );
    }
    expect(wasSuspected).toBe(false);
  });

  it('two halves that took each other for dead merge again', async () => {
    await using bed = new GossipBed(6);
    for (let index = 0; index < 16; index++) {
      await bed.add(index === 0 ? [] : index <= 8 ? [0] : [8]);
    }
    await bed.until(() => isComplete(bed), 20);
    // Afterwards no seed leads from one half to the other: only memory of the dead does.
    await bed.kill(bed.nodes[8]!);
    await bed.add([9], {}, 8);
    await bed.until(() => isComplete(bed), 20);
    bed.isCut = (a, b) => a < 8 !== b < 8;
    const dead = (node: BedNode): number =>
      node.gossip.members().filter(({ health }) => health === 'dead').length;
    await bed.until(() => bed.nodes.every((node) => dead(node) === 8), LONG);
    bed.isCut = () => false;
    const seconds = await bed.until(() => isComplete(bed), 60);
    expect(seconds).toBeLessThanOrEqual(30);
  });

  it('one that comes back with the same key is itself again', async () => {
    await using bed = await bedOf(4, 7);
    await bed.until(() => isComplete(bed), 20);
    await bed.kill(bed.nodes[3]!);
    await bed.until(() => bed.healthAt(bed.nodes[0]!, bed.nodes[3]!) === 'dead', 30);
    await bed.add([1], {}, 3);
    await bed.until(() => isComplete(bed), 10);
  });

  it('one that leaves is gone at once and does not count as dead', async () => {
    await using bed = await bedOf(6, 8);
    await bed.until(() => isComplete(bed), 20);
    const leaver = bed.nodes[5]!;
    await leaver.gossip.leave({ deadlineMs: 1000 });
    await bed.kill(leaver);
    const rest = bed.nodes.slice(0, 5);
    const hasLeft = (node: BedNode): boolean => bed.healthAt(node, leaver) === 'left';
    await bed.until(() => rest.every(hasLeft), 3);
    await bed.env.clock.sleep(60 * SECOND);
    expect(rest.every(hasLeft)).toBe(true);
  });
});

/** A member whose word is false: what it sends to node 0. */
function liar(bed: GossipBed): { from: BedNode; say: (share: object) => Promise<unknown> } {
  const from = bed.nodes[2]!;
  const say = (share: object): Promise<unknown> => {
    const message = shareMessage({ records: [], entries: [], wants: [], ...share });
    return bed.callAs(from.id, bed.nodes[0]!, METHOD.share, message);
  };
  return { from, say };
}

const BLANK: MemberStatement = {
  incarnation: 1,
  hasLeft: false,
  addresses: [],
  labels: {},
  credentials: new Uint8Array(0),
};

async function trio(rules: Partial<GossipRules>): Promise<GossipBed> {
  const bed = new GossipBed(9);
  for (const seeds of [[], [0], [0]])
    await bed.add(seeds, { rules: { ...GOSSIP_RULES, ...rules } });
  await bed.until(() => isComplete(bed), 20);
  return bed;
}

/** Each attack, whether it succeeded, and the fault that lets it. */
const ATTACKS: readonly {
  name: string;
  why: string | undefined;
  fault: Partial<GossipRules>;
  succeeds: (bed: GossipBed) => Promise<boolean>;
}[] = [
  {
    name: 'a forged record',
    why: 'forged',
    fault: { isGenuine: () => true },
    async succeeds(bed) {
      const statement = { ...BLANK, incarnation: 5000, labels: { rack: 'forged' } };
      const { bytes } = makeRecord(bed.nodes[1]!.key, statement);
      bytes[bytes.length - 1]! ^= 1;
      await liar(bed).say({ records: [bytes] });
      return bed.nodes[0]!.gossip.members().some(({ labels }) => labels['rack'] === 'forged');
    },
  },
  {
    name: 'a replayed record of an older incarnation',
    why: 'old',
    fault: { isNewer: () => true },
    async succeeds(bed) {
      const { key } = bed.nodes[1]!;
      const newer = makeRecord(key, { ...BLANK, incarnation: 5000, labels: { rack: 'new' } });
      const older = makeRecord(key, { ...BLANK, incarnation: 4999, labels: { rack: 'old' } });
      await liar(bed).say({ records: [newer.bytes] });
      await liar(bed).say({ records: [older.bytes] });
      return bed.nodes[0]!.gossip.members().some(({ labels }) => labels['rack'] === 'old');
    },
  },
  {
    name: 'the word that a living node is dead',
    why: undefined,
    fault: { refutation: () => undefined },
    async succeeds(bed) {
      const { incarnation } = bed.nodes[0]!.gossip.members().find(
        ({ node }) => node === bed.nodes[1]!.id,
      )!;
      const entry = { node: bed.nodes[1]!.id, incarnation, health: 'dead', ageMs: 0 };
      await liar(bed).say({ entries: [entry] });
      expect(bed.healthAt(bed.nodes[0]!, bed.nodes[1]!)).toBe('dead');
      await bed.env.clock.sleep(20 * SECOND);
      return bed.healthAt(bed.nodes[0]!, bed.nodes[1]!) !== 'alive';
    },
  },
];

describe.each(ATTACKS)('$name', ({ why, fault, succeeds }) => {
  it('does no harm and is counted', async () => {
    await using bed = await trio({});
    expect(await succeeds(bed)).toBe(false);
    const count = bed.nodes[0]!.metrics.get('net_records_refused', why ? { why } : {});
    if (why) expect(count).toBeGreaterThan(0);
  });

  it('would do harm without the rule against it', async () => {
    await using bed = await trio(fault);
    expect(await succeeds(bed)).toBe(true);
  });
});

describe('what is refused', () => {
  it('records oversized, malformed, from the future, or of who is not admitted', async () => {
    await using bed = new GossipBed(10);
    const stranger = keyOf(99);
    const judge = (node: string) => (node === stranger.nodeId ? 'stranger' : 'member');
    const admission = { credentials: () => new Uint8Array(3), judge: judge as () => 'member' };
    for (const seeds of [[], [0], [0]]) await bed.add(seeds, { admission });
    await bed.until(() => isComplete(bed), 20);
    const incarnation = bed.env.clock.now() + LIMITS.incarnationAheadMsMax + 60 * SECOND;
    const future = makeRecord(bed.nodes[1]!.key, { ...BLANK, incarnation });
    const records = [
      makeRecord(stranger, BLANK).bytes,
      future.bytes,
      new Uint8Array(LIMITS.memberRecordBytesMax + 1),
      future.bytes.subarray(0, 50),
    ];
    await liar(bed).say({ records });
    const { metrics, gossip } = bed.nodes[0]!;
    for (const why of ['stranger', 'future', 'oversized', 'malformed']) {
      expect([why, metrics.get('net_records_refused', { why })]).toEqual([why, 1]);
    }
    expect(gossip.members()).toHaveLength(2);
  });

  it('messages that are not what they should be', async () => {
    await using bed = await bedOf(3, 11);
    const bad = [
      null,
      {},
      { cells: new Uint8Array(3) },
      { records: 3 },
      { node: new Uint8Array(15) },
    ];
    for (const method of [METHOD.compare, METHOD.share, METHOD.find, METHOD.pingFor]) {
      for (const arg of bad) {
        const work = bed.callAs(bed.nodes[1]!.id, bed.nodes[0]!, method, arg);
        expect(await failureOf(work)).toBe('HF_BAD_ARGUMENT');
      }
    }
    const many = Array.from({ length: LIMITS.recordsPerMessageMax + 1 }, () => new Uint8Array(1));
    expect(await failureOf(liar(bed).say({ records: many }))).toBe('HF_BAD_ARGUMENT');
  });

  it('a false claim about this node is contradicted in the answer', async () => {
    await using bed = await bedOf(3, 14);
    await bed.until(() => isComplete(bed), 20);
    const { id, gossip } = bed.nodes[0]!;
    const { incarnation } = bed.nodes[1]!.gossip.members().find(({ node }) => node === id)!;
    const entry = { node: id, incarnation, health: 'suspect', ageMs: 0 };
    const { records } = readShare(await liar(bed).say({ entries: [entry] }));
    expect(records.map((bytes) => decodeRecord(bytes))).toMatchObject([
      { node: id, incarnation: incarnation + 1 },
    ]);
    expect(gossip.members().every(({ health }) => health === 'alive')).toBe(true);
  });

  it('a claim about this node cannot drive its incarnation out of reach', async () => {
    await using bed = await bedOf(3, 12);
    await bed.until(() => isComplete(bed), 20);
    const { id } = bed.nodes[0]!;
    const incarnation = bed.env.clock.now() + LIMITS.incarnationAheadMsMax;
    await liar(bed).say({ entries: [{ node: id, incarnation, health: 'dead', ageMs: 0 }] });
    expect(bed.nodes[0]!.metrics.get('net_refutations')).toBe(0);
  });

  it('a node whose admission was taken back is forgotten', async () => {
    await using bed = new GossipBed(13);
    let revoked: string | undefined;
    const judge = (node: string) => (node === revoked ? { refused: 'revoked' } : 'member');
    const admission = { credentials: () => new Uint8Array(0), judge: judge as () => 'member' };
    for (const seeds of [[], [0], [0]]) await bed.add(seeds, { admission });
    await bed.until(() => isComplete(bed), 20);
    revoked = bed.nodes[2]!.id;
    bed.nodes[0]!.gossip.judgeAgain?.();
    expect(bed.nodes[0]!.gossip.members().map(({ node }) => node)).toEqual([bed.nodes[1]!.id]);
    await bed.env.clock.sleep(5 * SECOND); // node 1 goes on to tell of it
    expect(bed.nodes[0]!.gossip.members()).toHaveLength(1);
  });
});
