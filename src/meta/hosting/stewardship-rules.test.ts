/**
 * Aim: with any picture of the others exactly the first member that is able takes over, nobody does
 * while a steward is there, and two that see the same never both do. Method: cases one by one, and
 * random pictures that all members share with fast-check.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { NodeId } from '../../base/index.ts';
import { decide, type Sight, type Standing, STEADY_MS } from './stewardship-rules.ts';

const [a, b, c, d] = ['a', 'b', 'c', 'd'] as unknown as [NodeId, NodeId, NodeId, NodeId];

function sight(state: Sight['state'], parts: Partial<Sight> = {}): Sight {
  return { state, epoch: state === 'steward' ? 5 : 0, lsn: 100, steadyMs: 1e6, ...parts };
}

function standing(self: NodeId, sights: [NodeId, Sight][], parts: Partial<Standing> = {}) {
  const others = new Map(sights.filter(([node]) => node !== self));
  const mine: Standing = {
    self,
    members: [a, b, c],
    sights: others,
    role: 'replica',
    epoch: 0,
    lsn: 100,
    carriedMs: 1e6,
    reachedMs: 1e6,
    loss: undefined,
  };
  return { ...mine, ...parts };
}

it('the first that is able takes over, and only it', () => {
  const states = fc.constantFrom<Sight['state']>('replica', 'unable', 'silent', 'absent');
  fc.assert(
    fc.property(fc.tuple(states, states, states), ([first, second, third]) => {
      const sights: [NodeId, Sight][] = [
        [a, sight(first)],
        [b, sight(second)],
        [c, sight(third)],
      ];
      const able = sights.filter(([, { state }]) => state === 'replica').map(([node]) => node);
      const takers = able.filter((node) => decide(standing(node, sights)).act === 'take-over');
      expect(takers).toEqual(able.slice(0, 1));
    }),
  );
});

it('nobody takes over while a steward is there, or before the others had time to answer', () => {
  expect(decide(standing(b, [[c, sight('steward')]])).act).toBe('stay');
  expect(decide(standing(b, [[d, sight('steward')]])).act).toBe('stay');
  expect(decide(standing(a, [[c, sight('unasked')]])).act).toBe('stay');
  const fresh = { carriedMs: 10 };
  expect(decide(standing(b, [[a, sight('absent')]], fresh)).act).toBe('stay');
  expect(decide(standing(b, [[a, sight('absent')]])).act).toBe('take-over');
});

it('who is no member never takes over, and hands over to who is ready', () => {
  const ready = [[b, sight('replica')]] as [NodeId, Sight][];
  expect(decide(standing(d, ready)).act).toBe('stay');
  const asSteward = { role: 'steward', epoch: 5 } as const;
  expect(decide(standing(d, ready, asSteward))).toEqual({ act: 'hand-over', to: b });
});

it('a steward hands over to who goes before it, once that one is steady and has caught up', () => {
  const asSteward = { role: 'steward', epoch: 5, lsn: 5000 } as const;
  const before = (parts: Partial<Sight>) =>
    decide(standing(b, [[a, sight('replica', parts)]], asSteward));
  expect(before({ lsn: 4999 })).toEqual({ act: 'hand-over', to: a });
  expect(before({ lsn: 10 }).act).toBe('stay');
  expect(before({ lsn: 4999, steadyMs: STEADY_MS - 1 }).act).toBe('stay');
  expect(decide(standing(a, [[b, sight('replica')]], asSteward)).act).toBe('stay');
});

it('a steward looks at the log when another one has a newer epoch', () => {
  const asSteward = { role: 'steward', epoch: 5 } as const;
  const other = (epoch: number) =>
    decide(standing(a, [[b, sight('steward', { epoch })]], asSteward)).act;
  expect([other(4), other(6)]).toEqual(['stay', 'look']);
});

it('who lost the cell to somebody waits, longer each time, and longest without a majority', () => {
  const heard = [
    [b, sight('silent')],
    [c, sight('replica')],
  ] as [NodeId, Sight][];
  const alone = [
    [b, sight('silent')],
    [c, sight('silent')],
  ] as [NodeId, Sight][];
  const act = (sights: [NodeId, Sight][], agoMs: number, count: number) =>
    decide(standing(a, sights, { loss: { agoMs, count } })).act;
  expect([act(heard, 900, 1), act(heard, 1100, 1)]).toEqual(['stay', 'take-over']);
  expect([act(heard, 1100, 2), act(heard, 63_000, 20)]).toEqual(['stay', 'stay']);
  expect([act(alone, 29_000, 1), act(alone, 31_000, 1)]).toEqual(['stay', 'take-over']);
});

it('when nobody reached the log, the steward of before has the time to say that it is back', () => {
  const sights = [[a, sight('unable')]] as [NodeId, Sight][];
  const act = (reachedMs: number) => decide(standing(b, sights, { reachedMs })).act;
  expect([act(100), act(2000)]).toEqual(['stay', 'take-over']);
});
