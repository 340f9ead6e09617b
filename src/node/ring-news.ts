/** What a node finds out about the ring before its metadata is opened in it. */
import { errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import type { Registry } from '../log/index.ts';
import type { MetadataNode } from './peers/metadata-node.ts';
import type { Others } from './peers/others.ts';
import type { RingPart } from './ring/ring-part.ts';
import { decodeRing, RING_KEY } from './ring/ring-record.ts';

/**
 * Databases of rows that know more than an etcd of the user: it was restored, and the node waits
 * until that is said. @throws HF_UNAVAILABLE then; else what `open` throws.
 */
export async function blamingBackup<Opened>(
  { metadataNode }: Pick<Others, 'metadataNode'>,
  open: () => Promise<Opened>,
): Promise<Opened> {
  try {
    return await open();
  } catch (error) {
    const isNamed = metadataNode?.ring?.record?.named !== undefined;
    if (errorCode(error) !== 'HF_CORRUPT' || !isNamed) throw error;
    const hint = 'if your etcd was restored from a backup: holdfast meta restore --lost-for-good';
    const message = `${errorMessage(error)}; ${hint}`;
    throw new HoldfastError('HF_UNAVAILABLE', message, { cause: error });
  }
}

/** The registry says which ring was meant when it stopped changing. */
export async function adoptFrom(registry: Pick<Registry, 'get'>, ring: RingPart): Promise<void> {
  const row = await registry.get(RING_KEY);
  if (row) await ring.adopt(decodeRing(row.value));
}

/** A metadata node that is new has not heard yet where the ring is. */
export async function hearOfRing(node: MetadataNode, generation: number): Promise<void> {
  const { ring } = node;
  if (!ring) return;
  for (const other of node.others()) {
    if ((ring.record?.generation ?? 0) >= generation) return;
    await ring.compareWith(other);
  }
}
