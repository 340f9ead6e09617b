/**
 * Aim: members know each other's disks within seconds of a change, no list outlives its node or its
 * time, and a stranger neither learns nor changes anything. Method: whole networks with gossip, in
 * memory, in virtual time.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { everybody, keyOf } from '../../../test/suites/net-bed.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { errorCode, LIMITS, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import {
  type Admission,
  gossipMembers,
  linkedMembers,
  MemoryNet,
  Network,
  parseAddress,
} from '../../net/index.ts';
import type { DiskEntry } from './disk-list.ts';
import { DiskNews } from './disk-news.ts';

const MINUTE_MS = 60_000;
const STRANGER = 9;

interface Node extends AsyncDisposable {
  readonly id: NodeId;
  readonly network: Network;
  readonly news: DiskNews;
  /** What is on its machine now. */
  disks: readonly DiskEntry[];
}

let env: Env;
let net: MemoryNet;
const open = new Set<Node>();

beforeEach(() => {
  env = virtualEnv(1);
  net = new MemoryNet(env, { delayMs: 1 });
});
afterEach(async () => {
  for (const node of open) await node[Symbol.asyncDispose]();
  open.clear();
});

const disk = (label: string): DiskEntry => {
  return { storeId: null, uuid: null, label, device: '/dev/sdb1', path: `/media/${label}` };
};
const addressOf = (number: number) => parseAddress(`memory://node-${number}:1`);
const idOf = (number: number): NodeId => keyOf(number).nodeId;

/** All are members but one. */
const admission: Admission = {
  ...everybody,
  judge: (remote) => (remote === idOf(STRANGER) ? 'stranger' : 'member'),
};

async function networkOf(number: number): Promise<Network> {
  const key = keyOf(number);
  const isStranger = number === STRANGER;
  return await Network.open({
    env,
    key,
    admission: isStranger ? everybody : admission,
    transports: [net.transport(key.nodeId)],
    listen: isStranger ? [] : [addressOf(number)],
    seeds: isStranger ? [] : [addressOf(1)],
    membership: isStranger ? linkedMembers : gossipMembers({ admission }),
  });
}

async function start(number: number, disks: readonly DiskEntry[] = []): Promise<Node> {
  const network = await networkOf(number);
  const about = { id: network.self, network, disks };
  const news = new DiskNews({ env, network, look: async () => node.disks });
  const node: Node = {
    ...about,
    news,
    async [Symbol.asyncDispose]() {
      open.delete(node);
      await news[Symbol.asyncDispose]();
      await network[Symbol.asyncDispose]();
    },
  };
  open.add(node);
  return node;
}

const pass = async (ms: number): Promise<void> => await env.clock.sleep(ms);

/** Labels of another one's disks, as `node` knows them. */
function labels(node: Node, other: NodeId): readonly (string | null)[] | undefined {
  return node.news
    .heard()
    .get(other)
    ?.map(({ label }) => label);
}

describe('members', () => {
  it('hear of the disks of each other, and of a change within seconds', async () => {
    const [a, b, c] = [await start(1), await start(2, [disk('B')]), await start(3, [disk('C')])];
    await pass(20_000);
    expect([labels(a, b.id), labels(c, b.id), labels(b, c.id)]).toEqual([['B'], ['B'], ['C']]);
    expect(labels(b, b.id)).toBeUndefined();
    b.disks = [];
    await pass(11_000);
    expect([labels(a, b.id), labels(c, b.id)]).toEqual([[], []]);
  });

  it('tell one that comes later, and one that was started again', async () => {
    const a = await start(1, [disk('A')]);
    await pass(MINUTE_MS);
    const b = await start(2);
    await pass(15_000);
    expect(labels(b, a.id)).toEqual(['A']);
    await b[Symbol.asyncDispose]();
    const again = await start(2);
    expect(labels(again, a.id) ?? []).toEqual([]);
    await pass(20_000);
    expect(labels(again, a.id)).toEqual(['A']);
  });

  it('are asked when something is to be found now', async () => {
    const [a, b] = [await start(1), await start(2)];
    await pass(20_000);
    b.disks = [disk('new')];
    const { signal } = new AbortController();
    expect(await a.news.ask({ signal })).toBe(0);
    expect(labels(a, b.id)).toEqual(['new']);
  });
});

describe('a list', () => {
  it('is not shown when its node is dead', async () => {
    const [a, b] = [await start(1), await start(2, [disk('B')])];
    await pass(20_000);
    expect(labels(a, b.id)).toEqual(['B']);
    await b[Symbol.asyncDispose]();
    await pass(30_000);
    expect(labels(a, b.id)).toBeUndefined();
  });

  it('goes at once when its node leaves', async () => {
    const [a, b] = [await start(1), await start(2, [disk('B')])];
    await pass(20_000);
    await b.network.leave({ deadlineMs: 1000 });
    await pass(3000);
    expect(labels(a, b.id)).toBeUndefined();
  });

  it('is renewed, and ends when it is not', async () => {
    const [a, b] = [await start(1), await start(2, [disk('B')])];
    await pass(60 * MINUTE_MS);
    expect(labels(a, b.id)).toEqual(['B']);
    await b.news[Symbol.asyncDispose](); // the node itself lives on
    await pass(14 * MINUTE_MS);
    expect(labels(a, b.id)).toEqual(['B']);
    await pass(12 * MINUTE_MS);
    expect(labels(a, b.id)).toEqual([]);
  });

  it('that is no list is refused, and the one before stays', async () => {
    const [a, b] = [await start(1), await start(2, [disk('B')])];
    await pass(20_000);
    const long = Array(LIMITS.disksPerNodeMax + 1).fill(disk('x')) as DiskEntry[];
    for (const list of [long, [{ ...disk('x'), label: '\u001B[2J' }], 'x', null]) {
      const telling = b.network.call(a.id, 'disks/tell', list, { deadlineMs: 1000 });
      expect(await telling.then(() => 'taken', errorCode)).toBe('HF_BAD_ARGUMENT');
    }
    expect(labels(a, b.id)).toEqual(['B']);
  });
});

describe('a stranger', () => {
  it('is told nothing, and is not believed', async () => {
    const a = await start(1, [disk('A')]);
    await using stranger = await networkOf(STRANGER);
    const heard: unknown[] = [];
    stranger.handle('disks/tell', {}, (list) => void heard.push(list));
    await stranger.connect(addressOf(1));
    await pass(MINUTE_MS);
    const about = { deadlineMs: 1000, toStranger: true };
    const asking = stranger.call(a.id, 'disks/ask', null, about);
    const telling = stranger.call(a.id, 'disks/tell', [disk('X')], about);
    expect(await asking.catch(errorCode)).toBe('HF_DENIED');
    expect(await telling.catch(errorCode)).toBe('HF_DENIED');
    expect([heard, labels(a, stranger.self)]).toEqual([[], undefined]);
  });
});
