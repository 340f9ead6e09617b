/**
 * Which device stands for which shard of a stripe: a largest *matching*, in which no device stands
 * for two shards. Its size says how many shards are *apart*: two on one device are lost together,
 * and a second copy elsewhere of a third one does not make up for that.
 * Source: Kuhn, "The Hungarian Method for the Assignment Problem", 1955 (augmenting paths).
 */
import type { DeviceId } from '../base/index.ts';

/**
 * @param holders by shard: the devices that hold a good copy. What an earlier shard gets is taken
 *   from it only for another device.
 * @returns by shard: its device; `undefined` where there is none left for it.
 */
export function matchShards(
  holders: readonly (readonly DeviceId[])[],
): readonly (DeviceId | undefined)[] {
  const shardAt = new Map<DeviceId, number>();
  const deviceOf = holders.map((devices, shard) => {
    // Nearly always there is one that nobody else has.
    const own = devices.find((device) => !shardAt.has(device));
    if (own !== undefined) shardAt.set(own, shard);
    return own;
  });
  const seen = new Set<DeviceId>();
  const assign = (shard: number): boolean => {
    for (const device of holders[shard]!) {
      if (seen.has(device)) continue;
      seen.add(device);
      const other = shardAt.get(device);
      if (other !== undefined && !assign(other)) continue;
      shardAt.set(device, shard);
      deviceOf[shard] = device;
      return true;
    }
    return false;
  };
  for (const [shard, device] of deviceOf.entries()) {
    if (device !== undefined) continue;
    seen.clear();
    assign(shard);
  }
  return deviceOf;
}

/** How many shards are apart. */
export function countApart(holders: readonly (readonly DeviceId[])[]): number {
  return matchShards(holders).filter((device) => device !== undefined).length;
}
