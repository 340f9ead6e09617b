/**
 * Distance between node ids: the number that their exclusive-or makes. Seen from one id, all others
 * fall into *buckets*: bucket b holds those that share exactly the first b bits. Half of all nodes
 * are in bucket 0, a quarter in bucket 1, and so on; a node that knows some peers of each bucket
 * can halve the distance to any id with one question.
 * Source: Maymounkov and Mazières 2002 (Kademlia), sections 2.1 and 2.3.
 */
import { assert, type NodeId } from '../base/index.ts';

export const BUCKET_COUNT = 128;
const DIGIT_BITS = 4;

function digitAt(id: NodeId, index: number): number {
  const code = id.charCodeAt(index);
  return code < 0x3a ? code - 0x30 : code - 0x57;
}

/** How many leading bits two different ids share. */
export function bucketOf(self: NodeId, other: NodeId): number {
  for (let index = 0; index < self.length; index++) {
    const difference = digitAt(self, index) ^ digitAt(other, index);
    if (difference !== 0) return index * DIGIT_BITS + Math.clz32(difference) - 28;
  }
  assert(self === other, 'ids are of one length');
  throw new RangeError('an id is in no bucket of its own');
}

/** Orders ids by their distance to `target`, the closest first. */
export function byDistanceTo(target: NodeId): (a: NodeId, b: NodeId) => number {
  return (a, b) => {
    for (let index = 0; index < target.length; index++) {
      const [digitA, digitB] = [digitAt(a, index), digitAt(b, index)];
      if (digitA === digitB) continue;
      const wanted = digitAt(target, index);
      return (digitA ^ wanted) - (digitB ^ wanted);
    }
    return 0;
  };
}

/** How many ids are known in each bucket around one id. */
export class BucketCounts {
  readonly #self: NodeId;
  readonly #counts = new Uint32Array(BUCKET_COUNT);

  constructor(self: NodeId) {
    this.#self = self;
  }

  add(node: NodeId): void {
    this.#counts[bucketOf(this.#self, node)]! += 1;
  }

  remove(node: NodeId): void {
    const bucket = bucketOf(this.#self, node);
    assert(this.#counts[bucket]! > 0, 'what is removed was added');
    this.#counts[bucket]! -= 1;
  }

  /** In the bucket that `node` falls into. */
  besides(node: NodeId): number {
    return this.#counts[bucketOf(this.#self, node)]!;
  }

  /** The bucket with the most, and how many those are. */
  fullest(): { readonly bucket: number; readonly count: number } {
    let bucket = 0;
    for (let each = 1; each < BUCKET_COUNT; each++) {
      if (this.#counts[each]! > this.#counts[bucket]!) bucket = each;
    }
    return { bucket, count: this.#counts[bucket]! };
  }
}
