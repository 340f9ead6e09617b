/** What a workload is given, and what it is. */
import type { MountGround } from './ground.ts';

export interface Drill {
  readonly mounts: MountGround;
  readonly seed: number;
  /** How much of it, in the workload's own unit; its own default when left out. */
  readonly size: number | undefined;
  /** A folder with what the workload needs and the project does not have. */
  readonly path: string | undefined;
  readonly say: (line: string) => void;
}

/** @returns figures worth printing. @throws when the mount has not held, or {@link Missing}. */
export type Workload = (drill: Drill) => Promise<object>;
