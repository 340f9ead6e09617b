/**
 * Aim: whatever happens to the nodes, the steps never cost the ring its majority, and they come to
 * an end with the seats that are wanted. Method: a model of etcd's membership that does the steps,
 * with nodes that die, come back and lose their data; random schedules, and the orders by example.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeId } from '../../base/index.ts';
import { majorityOf, nextStep, type RingStep, type SeatHealth } from './ring-plan.ts';
import { peerUrlOf, type RingRecord } from './ring-record.ts';

const nodeOf = (number: number): NodeId => String(number).padStart(32, '0') as NodeId;

interface Voice {
  readonly id: string;
  readonly node: NodeId;
  isLearner: boolean;
}

/** Does what etcd would do, and refuses what it would refuse. */
class Model {
  readonly nodes: readonly NodeId[];
  record: RingRecord;
  voices: Voice[];
  readonly health = new Map<NodeId, SeatHealth>();
  readonly done: string[] = [];
  seatsWanted = 3;
  unwanted = new Set<NodeId>();
  candidates = (): NodeId[] => this.nodes.filter((node) => this.isWell(node));
  #nextId = 100;

  constructor(nodes: readonly NodeId[], seats: number) {
    this.nodes = nodes;
    const seated = nodes.slice(0, seats);
    const members = seated.map((node) => ({ node, state: 'founder' as const, since: 1 }));
    const token = 'ab'.repeat(16);
    this.record = { generation: 1, life: 1, version: 1, token, roundTripMs: 0, members };
    this.voices = seated.map((node, index) => ({ id: `${index}`, node, isLearner: false }));
  }

  isWell(node: NodeId): boolean {
    return (this.health.get(node) ?? 'well') === 'well';
  }

  get works(): boolean {
    const voters = this.voices.filter(({ isLearner }) => !isLearner);
    return voters.filter(({ node }) => this.isWell(node)).length >= majorityOf(voters.length);
  }

  next(): RingStep | undefined {
    return nextStep({
      record: this.record,
      etcd: this.voices.map(({ id, node, isLearner }) => {
        return { id, name: node, peerUrls: [peerUrlOf(node)], isLearner };
      }),
      health: (node) => this.health.get(node) ?? 'well',
      seatsWanted: this.seatsWanted,
      candidates: this.candidates(),
      unwanted: this.unwanted,
    });
  }

  do(step: RingStep): void {
    if (step.do === 'write') {
      expect(step.record.version).toBe(this.record.version + 1);
      this.record = step.record;
    } else if (step.do === 'add') {
      expect(this.voices.filter(({ isLearner }) => isLearner)).toEqual([]);
      this.voices.push({ id: `${this.#nextId++}`, node: step.node, isLearner: true });
      this.done.push(`add ${Number(step.node)}`);
    } else {
      const voice = this.voices.find(({ id }) => id === step.id)!;
      if (step.do === 'promote') voice.isLearner = false;
      else this.voices = this.voices.filter((one) => one !== voice);
      this.done.push(`${step.do} ${Number(voice.node)}`);
    }
  }

  /** Steps until none is left; fails when there is no end. */
  settle(): void {
    for (let count = 0; count < 200; count++) {
      const step = this.next();
      if (!step) return;
      this.do(step);
    }
    throw new Error(`no end: ${JSON.stringify(this.record.members)}`);
  }
}

const NODES = [1, 2, 3, 4, 5, 6, 7].map(nodeOf);

describe('nextStep', () => {
  it('removes the dead first, and adds its successor afterwards', () => {
    const model = new Model(NODES.slice(0, 4), 3);
    model.health.set(nodeOf(2), 'gone');
    model.settle();
    expect(model.done).toEqual(['remove 2', 'add 4', 'promote 4']);
    expect(model.record.members.map(({ state }) => state)).toEqual(Array(3).fill('member'));
  });

  it('adds the successor first when who leaves is well', () => {
    const model = new Model(NODES.slice(0, 4), 3);
    model.unwanted.add(nodeOf(2));
    model.settle();
    expect(model.done).toEqual(['add 4', 'promote 4', 'remove 2']);
  });

  it('keeps a dead one while nobody can take its place, and all while too few are well', () => {
    const alone = new Model(NODES.slice(0, 3), 3);
    alone.health.set(nodeOf(2), 'gone');
    alone.settle();
    expect(alone.done).toEqual([]);
    const lost = new Model(NODES, 3);
    lost.health.set(nodeOf(2), 'gone').set(nodeOf(3), 'gone');
    lost.settle();
    expect(lost.done).toEqual([]);
  });

  it('grows from three to five, one after the other', () => {
    const model = new Model(NODES, 3);
    model.seatsWanted = 5;
    model.settle();
    expect(model.done).toEqual(['add 4', 'promote 4', 'add 5', 'promote 5']);
  });

  it('lets one take its own place that lost its data, when nobody else can', () => {
    const model = new Model(NODES.slice(0, 3), 3);
    model.settle();
    model.health.set(nodeOf(2), 'gone');
    model.candidates = () => [nodeOf(2)]; // its node is well
    for (let step = model.next(); step && model.voices.length === 3; step = model.next()) {
      model.do(step);
    }
    model.health.set(nodeOf(2), 'well');
    model.settle();
    expect(model.done).toEqual(['remove 2', 'add 2', 'promote 2']);
  });

  it('never costs the majority, and comes to rest with seats that are well', () => {
    const event = fc.record({
      node: fc.integer({ min: 1, max: 7 }),
      health: fc.constantFrom<SeatHealth>('well', 'well', 'away', 'gone'),
      stepCount: fc.integer({ min: 0, max: 6 }),
    });
    const schedule = fc.record({
      seats: fc.constantFrom(3, 5),
      wanted: fc.constantFrom(3, 5),
      unwanted: fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 1 }),
      events: fc.array(event, { maxLength: 20 }),
    });
    fc.assert(
      fc.property(schedule, ({ seats, wanted, unwanted, events }) => {
        const model = new Model(NODES, seats);
        model.seatsWanted = wanted;
        model.unwanted = new Set(unwanted.map(nodeOf));
        for (const { node, health, stepCount } of events) {
          model.health.set(nodeOf(node), health);
          for (let count = 0; count < stepCount && model.works; count++) {
            const step = model.next();
            if (!step) break;
            model.do(step);
            expect(model.works).toBe(true);
          }
        }
        if (!model.works) return;
        for (const node of NODES) model.health.set(node, 'well');
        model.settle();
        expect(model.works).toBe(true);
        const { members } = model.record;
        expect(members.every(({ state }) => state === 'member')).toBe(true);
        expect(members.length).toBeGreaterThanOrEqual(wanted);
        const voters = model.voices.filter(({ isLearner }) => !isLearner).map(({ node }) => node);
        expect(voters.toSorted()).toEqual(members.map(({ node }) => node).toSorted());
        expect(members.some(({ node }) => model.unwanted.has(node))).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});
