/**
 * Aim: a node is found by what a user writes, and by nothing else; who cannot be removed is told
 * what to do. Method: lists of nodes as the control interface has them.
 */
import { expect, it } from 'vitest';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import type { NodeView } from '../../api/index.ts';
import { errorCode, errorMessage, type NodeId } from '../../base/index.ts';
import type { Health } from '../../net/index.ts';
import { findNode, nodeViews } from './node-names.ts';
import { assertMayRemove } from './peer-manager.ts';

const VIEW: NodeView = {
  id: '',
  name: 'vm',
  state: 'alive',
  addresses: [],
  rttMs: null,
  heardMsAgo: null,
  labels: {},
  isHome: false,
  carriesNames: false,
  storeCount: 0,
  sizeBytes: 0,
  freeBytes: null,
};

const [ONE, TWO, THREE] = ['5f3a', '5f3b', 'c0de'].map((part) => part.repeat(8)) as [
  string,
  string,
  string,
];

function codeOf(act: () => unknown): [unknown, string] {
  try {
    act();
  } catch (error) {
    return [errorCode(error), errorMessage(error)];
  }
  return [undefined, ''];
}

it('a node has a name, an id and beginnings of it; what fits several lists their ids', () => {
  const nodes = [
    { ...VIEW, id: ONE },
    { ...VIEW, id: TWO },
    { ...VIEW, id: THREE, name: 'berlin-2' },
  ];
  expect(findNode(nodes, 'berlin-2').id).toBe(THREE);
  expect(findNode(nodes, TWO).id).toBe(TWO);
  expect(findNode(nodes, '5f3a').id).toBe(ONE);
  for (const wanted of ['vm', '5f3']) {
    const [code, message] = codeOf(() => findNode(nodes, wanted));
    expect(code).toBe('HF_NOT_FOUND');
    expect(message).toContain(`${ONE.slice(0, 12)} (vm), ${TWO.slice(0, 12)} (vm)`);
    expect(message).not.toContain('c0de');
  }
  expect(codeOf(() => findNode(nodes, ''))[0]).toBe('HF_NOT_FOUND');
  const many = Array.from({ length: 20 }, (_, i) => ({ ...VIEW, id: `${i}`.padEnd(32, 'a') }));
  expect(codeOf(() => findNode(many, 'vm'))[1]).toMatch(/^"vm" fits 20 nodes.*, …$/);
});

it('the name of a node that was replaced is that of its successor', () => {
  const nodes = [
    { ...VIEW, id: ONE, state: 'replaced' as const },
    { ...VIEW, id: TWO },
  ];
  expect(findNode(nodes, 'vm').id).toBe(TWO);
  expect(findNode(nodes, ONE).id).toBe(ONE);
  expect(findNode(nodes.slice(0, 1), 'vm').id).toBe(ONE);
});

it('a node that runs is not removed but by force, and one that may be dead is waited for', () => {
  const removing = (more: Partial<NodeView>, isForced = false) =>
    codeOf(() => assertMayRemove({ ...VIEW, ...more }, { isForced }));
  expect(removing({})).toEqual(['HF_BUSY', expect.stringContaining('holdfast leave there')]);
  const [code, message] = removing({ state: 'suspect' });
  expect(code).toBe('HF_BUSY');
  expect(message).toContain('try again in a quarter of a minute');
  expect(message).not.toContain('leave');
  for (const state of ['dead', 'unknown', 'left', 'replaced'] as const) {
    expect(removing({ state })).toEqual([undefined, '']);
  }
  expect(removing({ state: 'suspect' }, true)[0]).toBeUndefined();
  expect(removing({ isHome: true }, true)[0]).toBe('HF_DENIED');
  expect(removing({ state: 'self' }, true)[0]).toBe('HF_BAD_ARGUMENT');
});

/** How a node that says it is home is shown where another one is it. */
async function stateOfFormerHome(health: Health, { isHomeAlone }: { isHomeAlone: boolean }) {
  const former = {
    node: ONE as NodeId,
    labels: { name: 'x', home: '1' },
    health,
    addresses: [],
    incarnation: 1,
    rttMs: undefined,
  };
  const views = await nodeViews({
    network: { self: TWO as NodeId, members: () => [former] },
    self: { name: 'y', labels: {} },
    addresses: [],
    home: THREE as NodeId,
    isHomeAlone,
    core: undefined,
    clock: virtualEnv(1).clock,
  });
  return views.find(({ id }) => id === ONE)?.state;
}

it('who was home in a ring is a node like others; replaced is a lone one', async () => {
  for (const health of ['alive', 'suspect', 'dead'] as const) {
    expect(await stateOfFormerHome(health, { isHomeAlone: false })).toBe(health);
  }
  expect(await stateOfFormerHome('alive', { isHomeAlone: true })).toBe('replaced');
});
