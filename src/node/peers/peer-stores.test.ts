/**
 * Aim: who looks after the stores hears of every node that was away, however shortly; a store is
 * set aside when it gives no answer, but not for a single question. Method: the stores of one other
 * node, and a list of members and answers that the test changes.
 */
import { expect, it } from 'vitest';
import { type DeviceId, HoldfastError, type NodeId } from '../../base/index.ts';
import { eventually } from '../../../test/suites/store-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import type { LinkView, MemberChange, MemberView } from '../../net/index.ts';
import { PeerStores } from './peer-stores.ts';

const [self, other] = ['a', 'b'] as unknown as NodeId[];
const device = 'd' as unknown as DeviceId;

const devices = [{ id: device, number: 1, weightBytes: 1, state: 'in' as const, labels: [] }];
const topology = { epoch: 1, levels: [], devices };
const cluster = { topology: () => topology, nodeOf: () => other };
const member = (incarnation: number, health: MemberView['health'] = 'alive'): MemberView => {
  const rest = { addresses: [], labels: {}, rttMs: undefined };
  return { node: other!, incarnation, health, ...rest };
};
const unanswered = () => new Promise<never>(() => {});

it('counts a change when a node is back that nobody has missed, or was silent', async () => {
  let told = Promise.withResolvers<MemberView>();
  async function* watch(): AsyncGenerator<MemberChange> {
    for (;;) {
      const next = await told.promise;
      told = Promise.withResolvers();
      yield { node: next.node, member: next };
    }
  }
  const network = {
    self: self!,
    call: unanswered,
    open: unanswered,
    members: () => [member(1)],
    watch,
    links: () => links,
  };
  let links: LinkView[] = [];
  const peers = new PeerStores({ env: virtualEnv(1), network, cluster });
  const count = peers.changeCount;
  const hear = async (next: MemberView, changes: number): Promise<void> => {
    told.resolve(next);
    await eventually(async () => expect(peers.changeCount - count).toBe(changes));
  };
  expect(peers.alive()).toHaveLength(1);
  await hear(member(1, 'suspect'), 0);
  await hear(member(2), 1);
  await hear(member(3), 2);
  await hear(member(3, 'dead'), 3);
  links = [{ node: other!, verdict: 'member', rttMs: 1, silenceCount: 1 }];
  expect(peers.changeCount - count).toBe(4);
  expect(peers.changeCount - count).toBe(4);
  expect(peers.alive()).toHaveLength(0);
});

it('sets a store aside that gives no answer twice in a row, until it gives one', async () => {
  /** What the next questions are answered; with none left, all is well. */
  const failures: string[] = [];
  let asked = 0;
  const call = async <Result>(): Promise<Result> => {
    asked += 1;
    if (failures.length > 0) throw new HoldfastError('HF_TIMEOUT', failures.shift());
    const sizes = { sizeBytes: 1, usedBytes: 0, freeBytes: 1, chunkCount: 0, badChunkCount: 0 };
    return { state: 'active', usage: sizes } as Result;
  };
  const network = {
    self: self!,
    call,
    open: unanswered,
    members: () => [member(1)],
    async *watch(): AsyncGenerator<MemberChange> {},
    links: () => [],
  };
  await using peers = new PeerStores({ env: virtualEnv(1), network, cluster });
  const looks = async (more: number): Promise<void> => {
    const enough = asked + more;
    await eventually(() => expect(asked).toBeGreaterThanOrEqual(enough));
  };
  failures.push('late');
  await looks(3);
  expect([failures, peers.alive().length, peers.changeCount]).toEqual([[], 1, 1]);
  failures.push('late', 'late');
  await eventually(() => expect(peers.alive()).toHaveLength(0));
  await eventually(() => expect(peers.alive()).toHaveLength(1));
});
