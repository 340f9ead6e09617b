/**
 * Faults that tests plant in the engine to show that the crash tests would find them. Never set
 * anywhere else.
 */
export type PlantedFault =
  /** Mount takes over the last batch without reading what it names. */
  | 'tail-not-verified'
  /** A commit is acknowledged without a flush. */
  | 'commit-not-flushed'
  /** A checkpoint's superblock is written before its images are durable. */
  | 'images-not-flushed'
  /** All superblock copies are written with one flush at the end. */
  | 'superblocks-flushed-once';
