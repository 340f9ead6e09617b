/**
 * Which devices hold which shards: a table (placement group × position → device), computed from the
 * previous table and the topology, stored with its epoch. Pure: same input, same table.
 */
import type { DeviceId } from '../base/index.ts';

/** `in` takes shards; `draining` keeps what it has until it is moved; `out` is dead or gone. */
export type DeviceState = 'in' | 'draining' | 'out';

export interface TopologyDevice {
  readonly id: DeviceId;
  /** Short number of the device in layouts, unique for ever in the cluster, below 0xffff. */
  readonly number: number;
  readonly weightBytes: number;
  readonly state: DeviceState;
  /** One label per level of the topology, widest first: ["rack-1", "server-3", "disk-7"]. */
  readonly labels: readonly string[];
}

export interface Topology {
  /** Rises by one with each change. */
  readonly epoch: number;
  /** Names of the levels, widest first: ["rack", "server", "disk"]. */
  readonly levels: readonly string[];
  readonly devices: readonly TopologyDevice[];
}

/** No device could be given this position. */
export const NO_DEVICE = 0xffff;

export interface Layout {
  readonly epoch: number;
  /** Positions of a row: shards of the widest scheme in use. */
  readonly width: number;
  /** GROUP_COUNT × width device numbers, row by row; NO_DEVICE where there is none. */
  readonly table: Uint16Array;
}

/** What a layout promises for schemes that tolerate `tolerance` lost shards. */
export interface LayoutReport {
  /** For each level, and for "device": how many domains may be lost at once, in every group. */
  readonly survives: readonly { readonly level: string; readonly count: number }[];
  /** One line for each rule that could not be kept. */
  readonly relaxed: readonly string[];
  /** Positions whose device differs from the previous layout's. */
  readonly movedPositions: number;
}
