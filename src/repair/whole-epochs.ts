/**
 * What the stores of a node have heard of whole groups (ruling 11): the topology epoch at which
 * each was last whole. Puts of an older one are refused from then on. Kept in memory: after a
 * restart it is heard again after the steward's next look; until then an old put is moved later.
 */
import * as v from 'valibot';
import {
  errorCode,
  GROUP_COUNT,
  HoldfastError,
  LIMITS,
  mapBounded,
  type NodeId,
} from '../base/index.ts';
import type { Network } from '../net/index.ts';

const METHOD = 'repair/whole';
const BITMAP_BYTES = GROUP_COUNT / 8;

/** Nodes that are told at once. */
const TELLS_MAX = 16;

export class WholeEpochs {
  readonly #epochs = new Map<number, number>();

  /** 0 before the group was whole; what `serveStores` asks. */
  oldest(group: number): number {
    return this.#epochs.get(group) ?? 0;
  }

  /** What a steward said counts no longer than it is one: the epochs of the next may be lower. */
  forget(): void {
    this.#epochs.clear();
  }

  /** Never goes back. */
  raise(groups: Iterable<number>, epoch: number): void {
    for (const group of groups) {
      if (epoch > this.oldest(group)) this.#epochs.set(group, epoch);
    }
  }
}

const HEARD = v.object({
  /** A bit for each group. */
  groups: v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length === BITMAP_BYTES,
  ),
  epoch: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
});

/**
 * Hears from other nodes which groups are whole.
 * @param options.maySay whether a node is the steward; what others say would keep writers away.
 */
export function serveWholeEpochs(
  network: Pick<Network, 'handle'>,
  epochs: WholeEpochs,
  { maySay }: { readonly maySay: (from: NodeId) => boolean },
): void {
  network.handle<v.InferOutput<typeof HEARD>>(METHOD, { schema: HEARD }, (heard, { from }) => {
    if (!maySay(from)) throw new HoldfastError('HF_DENIED', 'only the steward says what is whole');
    epochs.raise(groupsIn(heard.groups), heard.epoch);
    return null;
  });
}

/** Tells nodes. One that cannot be reached is told again after the steward's next look. */
export async function tellWhole(
  network: Pick<Network, 'call'>,
  nodes: readonly NodeId[],
  { groups, epoch }: { readonly groups: readonly number[]; readonly epoch: number },
): Promise<void> {
  if (groups.length === 0 || epoch < 1) return;
  const bitmap = new Uint8Array(BITMAP_BYTES);
  for (const group of groups) bitmap[group >> 3]! |= 1 << (group & 7);
  const options = { deadlineMs: LIMITS.remoteCallMs };
  await mapBounded(nodes, TELLS_MAX, async (node) => {
    try {
      await network.call(node, METHOD, { groups: bitmap, epoch }, options);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
    }
  });
}

function* groupsIn(bitmap: Uint8Array): Generator<number> {
  for (let group = 0; group < GROUP_COUNT; group++) {
    if (bitmap[group >> 3]! & (1 << (group & 7))) yield group;
  }
}
