/** What the open files of one volume have in common. */
import type { Semaphore } from '../../base/index.ts';
import type { VolumeKeys } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import type {
  Inode,
  Namespace,
  References,
  Session,
  Tree,
  VolumeRecord,
} from '../../meta/index.ts';
import type { StripeStore } from '../../stripes/index.ts';
import type { AbandonedPuts } from '../abandoned-puts.ts';
import type { Background } from '../background.ts';
import type { InodeSeals } from '../inode-seals.ts';
import type { InodeSource } from '../inode-source.ts';
import type { StripeKeys } from '../stripe-keys.ts';
import type { StripeCache } from './stripe-cache.ts';
import type { WriteMemory } from './write-memory.ts';

/** Planted, for tests that prove that they would notice. */
export type FilesFault =
  /** What is beside a write in its unit of 4 KiB becomes zeros. */
  | 'drops-edges'
  /** It is stored again whatever others have made of it. */
  | 'trusts-edges'
  /** A size that is larger than the content is not committed. */
  | 'forgets-size'
  | 'keeps-hole'
  /** What is written to a window that is under way is not stored. */
  | 'loses-late-writes'
  /** What could not be stored comes back over what was written since. */
  | 'older-wins'
  /** Extents are kept though the file has changed. */
  | 'trusts-extents'
  /** A file that grows out of its inode loses what it was. */
  | 'leaves-inline'
  /** Inline content that was cut off is seen again when the file grows. */
  | 'shows-cut'
  /** Holes are not committed, or as zeros. */
  | 'forgets-holes'
  | 'stores-holes';

export interface FilesContext {
  readonly env: Env;
  readonly volume: () => VolumeRecord;
  readonly session: () => Session;
  readonly keys: VolumeKeys;
  readonly namespace: Namespace;
  readonly tree: Tree;
  readonly references: References;
  readonly stripes: StripeStore;
  readonly stripeKeys: StripeKeys;
  readonly seals: InodeSeals;
  /** Files up to this are stored beside their inode. */
  readonly inlineBytesMax: number;
  readonly inodes: Pick<InodeSource, 'take'>;
  readonly abandoned: Pick<AbandonedPuts, 'undo'>;
  readonly background: Background;
  readonly cache: StripeCache;
  readonly memory: WriteMemory;
  /** Waits for memory, and sees to it that there will be some. @throws when there will be none. */
  readonly takeMemory: (bytes: number) => Promise<void>;
  /** Stripes of all files that are being stored at once. */
  readonly storing: Semaphore;
  /** Aborted when the files are closed for good. */
  readonly end: AbortSignal;
  /** Of an inode that may have loose stripes now; without it the collector finds them. */
  readonly releaseLoose?: ((inode: Inode) => Promise<void>) | undefined;
  /** Told after a commit of stripes that lack shards. */
  readonly onDegraded?: (() => void) | undefined;
  /** Told why something waits to be stored: stores are away. Without a reason: it does no more. */
  readonly onWaiting?: ((reason?: unknown) => void) | undefined;
  /** Content that still fits the stores, as far as is known. */
  readonly roomBytes?: (() => number | undefined) | undefined;
  readonly fault?: FilesFault | undefined;
}
