/** Aim: seats go to nodes that are fit and do not fail together; people are told why not. */
import { describe, expect, it } from 'vitest';
import type { NodeId } from '../../base/index.ts';
import type { RingStatus } from './own-etcd.ts';
import { rankCandidates, type RingCandidate, sharedDomain } from './ring-choice.ts';
import type { RingRecord } from './ring-record.ts';
import { ringWarnings } from './ring-warnings.ts';

function candidate(number: number, more: Partial<RingCandidate> = {}): RingCandidate {
  const node = String(number).padStart(32, '0') as NodeId;
  return { node, labels: {}, hasEtcd: true, fsyncMs: number, ...more };
}

function numbers(candidates: readonly RingCandidate[]): number[] {
  return candidates.map(({ node }) => Number(node));
}

const inRack = (rack: string, zone = 'z') => ({ labels: { zone, rack } });

describe('rankCandidates', () => {
  it('takes different domains first, the widest counting most, then quick disks', () => {
    const all = [
      candidate(1, inRack('a')),
      candidate(2, inRack('a')),
      candidate(3, inRack('b')),
      candidate(4, inRack('c', 'y')),
    ];
    expect(numbers(rankCandidates(all))).toEqual([1, 4, 3, 2]);
    expect(numbers(rankCandidates([candidate(3), candidate(1), candidate(2)]))).toEqual([1, 2, 3]);
  });

  it('knows racks of the same name in two zones apart', () => {
    const all = [
      candidate(1, inRack('a')),
      candidate(2, inRack('b')),
      candidate(3, inRack('a', 'y')),
    ];
    expect(numbers(rankCandidates(all))).toEqual([1, 3, 2]);
  });

  it('looks at where the seats are already', () => {
    const seated = [candidate(1, inRack('a')), candidate(2, inRack('b'))];
    const free = [candidate(3, inRack('a')), candidate(4, inRack('c'))];
    expect(numbers(rankCandidates(free, seated))).toEqual([4, 3]);
  });

  it('leaves out who has no etcd or a disk that is far too slow', () => {
    const all = [
      candidate(1, { hasEtcd: false }),
      candidate(2, { fsyncMs: 500 }),
      candidate(3, { fsyncMs: Infinity }),
      candidate(4, { fsyncMs: 40 }),
    ];
    expect(numbers(rankCandidates(all))).toEqual([4]);
  });
});

describe('sharedDomain', () => {
  it('names the narrowest level that all are in, of those that were named', () => {
    expect(sharedDomain([candidate(1, inRack('a')), candidate(2, inRack('a'))])).toBe('rack a');
    expect(sharedDomain([candidate(1, inRack('a')), candidate(2, inRack('b'))])).toBe('zone z');
    expect(sharedDomain([candidate(1), candidate(2)])).toBeUndefined();
  });
});

describe('ringWarnings', () => {
  const nameOf = (node: NodeId): string => `n${Number(node)}`;
  const local = (candidates: readonly RingCandidate[], nodeCount = candidates.length) =>
    ringWarnings({ record: undefined, candidates, nodeCount, statuses: new Map(), nameOf });

  it('says why one node keeps the names, when there is more than one', () => {
    expect(local([candidate(1)])).toEqual([]);
    expect(local([candidate(1), candidate(2)])).toEqual([expect.stringContaining('a third node')]);
    expect(local([1, 2, 3].map((number) => candidate(number)))).toEqual([]);
    const [line] = local([candidate(1), candidate(2, { hasEtcd: false })], 4);
    expect(line).toMatch(/3 nodes .* 1 are fit: n2 has no etcd \(.*\); 2 do not answer/);
  });

  it('says what the ring still bears', () => {
    const seats = [1, 2, 3].map((number) => candidate(number));
    const members = seats.map(({ node }) => ({ node, state: 'member' as const, since: 1 }));
    const record = { members } as Partial<RingRecord> as RingRecord;
    const well = { state: 'running', etcd: { leader: 'a' } } as Partial<RingStatus> as RingStatus;
    const linesWith = (wellCount: number, candidates = seats) => {
      const statuses = new Map(seats.slice(0, wellCount).map(({ node }) => [node, well]));
      return ringWarnings({ record, candidates, nodeCount: 3, statuses, nameOf });
    };
    expect(linesWith(3)).toEqual([]);
    expect(linesWith(2)).toEqual([expect.stringMatching(/n3 is away: no further one may fail/)]);
    expect(linesWith(1)).toEqual([expect.stringMatching(/cannot be changed: 1 of 3 .* n2, n3/)]);
    const withDisk = (fsyncMs: number) => [...seats.slice(0, 2), candidate(3, { fsyncMs })];
    const slow = expect.stringMatching(/n3 is slow .* 120 ms .*; have its data directory on/);
    expect(linesWith(3, withDisk(120.4))).toEqual([slow]);
    for (const fine of [12, 100, Infinity]) expect(linesWith(3, withDisk(fine))).toEqual([]);
    const together = seats.map((seat) => ({ ...seat, ...inRack('a') }));
    expect(linesWith(3, together)).toEqual([expect.stringContaining('rack a')]);
  });
});
