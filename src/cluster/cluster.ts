/** Who is in the cluster and where its shards go: the topology and its layout, by epoch. */
import type { DeviceId, Scheme, StripeId } from '../base/index.ts';
import type { Layout, LayoutReport, Topology, TopologyDevice } from '../placement/index.ts';

export interface Cluster {
  topology(): Topology;
  layout(): Layout;
  report(): LayoutReport;

  /** The device of each shard index, by the layout; `undefined` where it has none. */
  place(stripe: StripeId, scheme: Scheme): readonly (DeviceId | undefined)[];
  /** Where a shard goes when its device does not answer: tried in this order (ruling 9). */
  handOff(stripe: StripeId, scheme: Scheme): readonly DeviceId[];

  /** Makes rows at least `width` wide. @throws HF_BAD_SCHEME when there are fewer devices `in`. */
  ensureWidth(width: number): Promise<void>;
  /** Adds or changes devices (by id); the next epoch. Its number is kept or given. */
  setDevices(devices: readonly Omit<TopologyDevice, 'number'>[]): Promise<void>;
}
