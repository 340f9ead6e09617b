/** Which objects cannot be read from the stores that are here. */
import type { Core } from '../core.ts';

/** How many; only if any stripe is lost are the objects looked at one by one. */
export async function unreadableObjects({ repair, volumes }: Core): Promise<number> {
  if ((await repair.health()).stripes.lost === 0) return 0;
  let count = 0;
  for (const { record } of await volumes.list()) {
    const objects = volumes.objects(record.name);
    for await (const { id } of objects.list()) {
      for await (const { spareCount } of objects.where(id)) {
        if (spareCount >= 0) continue;
        count += 1;
        break;
      }
    }
  }
  return count;
}
