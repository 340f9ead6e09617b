/**
 * Has the metadata lie in an etcd that the user runs: the record of the ring says so, and the
 * metadata moves there as it moves to a ring of our own (metadata/mover.ts). Later the same words
 * say where that etcd is now, or prove this cluster to it by other certificates.
 */
import { HoldfastError, mapBounded, type NodeId, toHex } from '../../base/index.ts';
import type { Registry } from '../../log/index.ts';
import type { NamedEtcd } from './named-etcd.ts';
import { assertClaimed, claimNamed } from './named-look.ts';
import type { RingPart } from './ring-part.ts';
import { decodeRing, encodeRing, FIRST_LIFE, RING_KEY, type RingRecord } from './ring-record.ts';

const TOKEN_BYTES = 16;
const TOLD_AT_ONCE = 16;

export interface UseEtcdOptions {
  readonly part: RingPart;
  readonly clusterId: string;
  /** Other metadata nodes that answer. */
  readonly others: readonly NodeId[];
}

/**
 * From now on the metadata is to move there, as the generation that follows.
 * @param registry the one in force.
 * @throws as claimNamed, also when another node does not reach it; HF_BUSY when the metadata is
 *   moving elsewhere just now.
 */
export async function moveToNamed(
  named: NamedEtcd,
  options: UseEtcdOptions & {
    readonly registry: Pick<Registry, 'get' | 'compareAndSet'>;
    /** Of the registry that it is to carry. */
    readonly generation: number;
  },
): Promise<void> {
  const { part, clusterId, registry, generation } = options;
  const { env } = part;
  await claimNamed(named, { clusterId, clock: env.clock });
  await reachedByAll(named, options);
  const row = await registry.get(RING_KEY);
  const before = row && decodeRing(row.value);
  const record =
    before && before.generation === generation - 1
      ? { ...before, version: before.version + 1, next: named }
      : { ...recordOf(named, options), generation, version: (before?.version ?? 0) + 1 };
  // Once it moves, the row is one of the next registry, and not as it was.
  const set = await registry.compareAndSet(RING_KEY, row?.version ?? 0, encodeRing(record));
  if (set === undefined) {
    throw new HoldfastError('HF_BUSY', 'names are moving to a ring of nodes just now');
  }
  await spread(record, options);
}

/**
 * It is reached there from now on. The registry is told by its keeper, when it can be reached.
 * @throws HF_BAD_ARGUMENT for another prefix; as assertClaimed.
 */
export async function readdressNamed(
  named: NamedEtcd,
  before: RingRecord,
  options: UseEtcdOptions,
): Promise<void> {
  const { part, clusterId } = options;
  const prefix = before.named?.prefix;
  if (prefix !== named.prefix) {
    const message = `names are there under the prefix ${prefix}, and stay under it`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  await assertClaimed(named, { clusterId, clock: part.env.clock });
  await spread({ ...before, version: before.version + 1, named }, options);
}

/**
 * It is there, all of it: no node has a seat any more. Databases of rows begin anew with the life:
 * those of the ring may be open yet while the others are opened.
 */
export async function becomeNamed(
  named: NamedEtcd,
  before: RingRecord,
  options: UseEtcdOptions,
): Promise<void> {
  const { generation, life, version } = before;
  const fresh = recordOf(named, options);
  const next = { ...fresh, generation: generation + 1, life: life + 1, version: version + 1 };
  await spread(next, options);
}

function recordOf(
  named: NamedEtcd,
  { part: { env } }: UseEtcdOptions,
): Omit<RingRecord, 'generation' | 'version'> {
  const token = toHex(env.random.bytes(TOKEN_BYTES));
  return { life: FIRST_LIFE, token, roundTripMs: 0, members: [], named };
}

/** Each node that keeps metadata asks it itself. @throws HF_UNAVAILABLE, naming one that cannot. */
async function reachedByAll(named: NamedEtcd, { part, others }: UseEtcdOptions): Promise<void> {
  await mapBounded(others, TOLD_AT_ONCE, async (node) => await part.askToReach(node, named));
}

/** Whoever cannot be told now hears of it when records are compared. */
async function spread(record: RingRecord, { part, others }: UseEtcdOptions): Promise<void> {
  await part.adopt(record);
  await mapBounded(others, TOLD_AT_ONCE, async (node) => {
    await part.compareWith(node).catch((error: unknown) => {
      part.env.log.debug('where names are was not told', { node, error: String(error) });
    });
  });
}
