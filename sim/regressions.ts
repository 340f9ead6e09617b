/** Seeds that failed once. A seed keeps its meaning only while the simulator draws alike. */
export interface Regression {
  readonly seed: number;
  /** Machines at the beginning. */
  readonly nodes: number;
  readonly why: string;
}

export const regressions: readonly Regression[] = [
  {
    seed: 3,
    nodes: 1,
    why: 'a put of known content was acknowledged though shards of it were gone',
  },
  { seed: 5078, nodes: 1, why: 'a get of an object that was replaced meanwhile said HF_CORRUPT' },
  { seed: 7065, nodes: 1, why: 'a bad chunk beside a good one elsewhere was never removed' },
  { seed: 59, nodes: 1, why: 'a scrub gave up when all superblocks of its store had rotted' },
];
