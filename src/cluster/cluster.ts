/** Who is in the cluster and where its shards go: the topology and its layout, by epoch. */
import type { DeviceId, NodeId, Scheme, StripeId } from '../base/index.ts';
import type { DeviceState, Layout, Topology, TopologyDevice } from '../placement/index.ts';

export interface Cluster {
  topology(): Topology;
  layout(): Layout;

  /** The device of each shard index, by the layout; `undefined` where it has none. */
  place(stripe: StripeId, scheme: Scheme): readonly (DeviceId | undefined)[];
  /**
   * Where a shard goes when its device does not answer: tried in this order (ruling 9).
   * @param taken devices that have shards of the stripe, or are about to; those of the row when
   *   left out. The order keeps away from their failure domains.
   */
  handOff(stripe: StripeId, scheme: Scheme, taken?: Iterable<DeviceId>): readonly DeviceId[];

  /** The node that has a device. */
  nodeOf(device: DeviceId): NodeId | undefined;
  /** The devices of a node, whatever their state. */
  devicesOf(node: NodeId): readonly TopologyDevice[];

  /**
   * Makes rows at least `width` wide, now as far as there are devices, and more when there are.
   * @param neededCount devices that must be `in` now; `width` when left out.
   * @throws HF_BAD_SCHEME when there are fewer; when `width` is far beyond what there is.
   */
  ensureWidth(width: number, neededCount?: number): Promise<void>;
  /**
   * Adds or changes devices (by id) of this node; the next epoch. A number is kept or given. What
   * another node had and is stated here as anything but `out` belongs to this node from then on.
   * Labels may be those of the narrow levels alone; the wider ones are {@link DEFAULT_LABEL}.
   */
  setDevices(devices: readonly Omit<TopologyDevice, 'number'>[]): Promise<void>;
  /** Puts the devices of a node into a state; with `in` those that were `out` are back. */
  setNodeDevices(node: NodeId, state: DeviceState): Promise<void>;

  /** Reads the newest epoch, if there is a newer one. @throws HF_UNAVAILABLE. */
  refresh(): Promise<void>;
  /** Sees changes that other nodes make within a second, until `signal` is aborted. */
  follow(options: { readonly signal: AbortSignal }): Promise<void>;
}
