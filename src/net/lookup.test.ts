/**
 * Aim: where nobody can know everybody, any node finds any other by its id in at most log2 N hops,
 * while each keeps few records; also when a tenth has died unnoticed. Method: 1,024 nodes whose
 * tables hold 80 records, filled by gossip alone, on virtual time.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NodeId } from '../base/index.ts';
import { type BedNode, failureOf, GossipBed } from '../../test/suites/gossip-bed.ts';
import { keyOf } from '../../test/suites/net-bed.ts';
import { bucketOf } from './buckets.ts';
import { METHOD, recordsMessage } from './gossip-message.ts';
import { lookup } from './lookup.ts';
import { makeRecord } from './member-record.ts';

const NODE_COUNT = 1024;
const TABLE_SIZE = 80;
/** Tables are full after four. */
const ROUNDS = 5;
const SEEDS = 3;
const LOOKUP_COUNT = 300;

describe('1,024 nodes', () => {
  const bed = new GossipBed(1);

  beforeAll(async () => {
    for (let index = 0; index < NODE_COUNT; index++) {
      // Each knows some nodes that were there before.
      const seed = (): number => bed.env.random.below(index);
      const seeds = index === 0 ? [] : Array.from({ length: SEEDS }, seed);
      await bed.add(seeds, { membersMax: TABLE_SIZE });
    }
    await bed.env.clock.sleep(ROUNDS * 1000);
  });

  afterAll(() => bed[Symbol.asyncDispose]());

  it('each keep few records, some of each distance', () => {
    for (const node of bed.nodes) {
      const ids = node.gossip.members().map((member) => member.node);
      expect(ids.length).toBeLessThan(TABLE_SIZE);
      for (const bucket of [0, 1, 2, 3]) {
        const count = ids.filter((id) => bucketOf(node.id, id) === bucket).length;
        expect(count).toBeGreaterThanOrEqual(8);
      }
    }
  });

  async function lookUp(among: readonly BedNode[]): Promise<{ found: number; hopsMax: number }> {
    const { random } = bed.env;
    const offset = 1 + random.below(among.length - 1);
    const hops: number[] = [];
    const answers = among.slice(0, LOOKUP_COUNT).map(async (from, index) => {
      const to = among[(index + offset) % among.length]!;
      const before = from.metrics.get('net_lookup_hops');
      const view = await from.gossip.lookup(to.id, { deadlineMs: 60_000 }).catch(() => undefined);
      hops.push(from.metrics.get('net_lookup_hops') - before);
      return view?.addresses[0]?.port === to.address.port;
    });
    const found = (await Promise.all(answers)).filter(Boolean).length;
    return { found, hopsMax: Math.max(...hops) };
  }

  it('find each other within log2 N hops', async () => {
    const { found, hopsMax } = await lookUp(bed.nodes);
    console.log(`1,024 nodes, ${TABLE_SIZE} records each: at most ${hopsMax} hops`);
    expect(found).toBe(LOOKUP_COUNT);
    expect(hopsMax).toBeLessThanOrEqual(Math.log2(NODE_COUNT));
  });

  it('find each other when a tenth is dead', async () => {
    const dead = bed.nodes.filter((_node, index) => index % 10 === 9);
    for (const node of dead) await bed.kill(node);
    const living = bed.nodes.filter(({ isDown }) => !isDown);
    const { found, hopsMax } = await lookUp(living);
    console.log(`a tenth dead: at most ${hopsMax} hops`);
    expect(found).toBe(LOOKUP_COUNT);
    expect(hopsMax).toBeLessThanOrEqual(Math.log2(NODE_COUNT));
  });

  it('say so when there is no such node', async () => {
    const nobody = 'ab'.repeat(16) as NodeId;
    const work = bed.nodes[0]!.gossip.lookup(nobody, { deadlineMs: 60_000 });
    expect(await failureOf(work)).toBe('HF_NOT_FOUND');
  });
});

describe('what a look-up is told', () => {
  // With room in the table and without.
  it.each([undefined, 2])('is believed only if it is genuine (table of %s)', async (membersMax) => {
    await using bed = new GossipBed(2);
    const options = membersMax === undefined ? {} : { membersMax };
    const asker = await bed.add([], options);
    const answerer = await bed.add([0], options);
    await bed.until(() => bed.aliveCount(asker) === 1, 10);
    const key = keyOf(50);
    const { bytes } = makeRecord(key, {
      incarnation: 1,
      hasLeft: false,
      addresses: [bed.address(50)],
      labels: {},
      credentials: new Uint8Array(0),
    });
    const forged = bytes.slice();
    forged[bytes.length - 1]! ^= 1;
    const tell = (record: Uint8Array): void => {
      const handlers = answerer.handlers as Map<string, () => unknown>;
      handlers.set(METHOD.find, () => recordsMessage([record]));
    };
    const lookUp = () => asker.gossip.lookup(key.nodeId, { deadlineMs: 5000 });
    tell(forged);
    expect(await failureOf(lookUp())).toBe('HF_NOT_FOUND');
    tell(bytes);
    expect(await lookUp()).toMatchObject({ node: key.nodeId, addresses: [bed.address(50)] });
  });
});

describe('a look-up', () => {
  const id = (digit: string): NodeId => digit.repeat(32) as NodeId;

  it('passes over those that do not answer', async () => {
    const asked: NodeId[] = [];
    const ask = async (node: NodeId): Promise<ReadonlyMap<NodeId, string> | undefined> => {
      asked.push(node);
      if (node === id('2')) return new Map([[id('1'), 'closer']]);
      return node === id('1') ? new Map([[id('0'), 'it']]) : undefined;
    };
    const known = ['2', '3', '4', '5', '6', '7', '8', '9'].map(id);
    const result = await lookup({ target: id('0'), known, ask });
    expect(result).toEqual({ found: 'it', hops: 2 });
    expect(asked.slice(0, 3)).toEqual(['2', '3', '4'].map(id));
  });

  it('ends when liars name ever closer nodes that are not there', async () => {
    let count = 0;
    const ask = async (): Promise<ReadonlyMap<NodeId, string>> => {
      count += 1;
      return new Map([[(1_000_000 - count).toString(16).padStart(32, '0') as NodeId, 'no']]);
    };
    const result = await lookup({ target: id('0'), known: [id('f')], ask });
    expect(result.found).toBeUndefined();
    expect(count).toBeLessThan(100);
  });
});
