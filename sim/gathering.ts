/**
 * When a cluster is as it should be while nothing is wrong: every machine is up and sees all
 * stores.
 */
import { Violation } from './violation.ts';
import type { World } from './world.ts';

const PATIENCE_MS = 300_000;
const LOOK_MS = 250;

export async function gather(world: World): Promise<void> {
  const untilMs = world.nowMs + PATIENCE_MS;
  for (;;) {
    const lack = lackOf(world);
    if (lack === undefined) return;
    if (world.nowMs > untilMs) throw new Violation(`the machines do not come together: ${lack}`);
    await world.sleep(LOOK_MS);
  }
}

function lackOf(world: World): string | undefined {
  const all = world.disks.filter(({ state }) => state === 'here').map(({ id }) => id!);
  const volumeCount = world.home.upLife?.core.volumes.ids().length;
  for (const { name, upLife } of world.standing) {
    if (!upLife) return `${name} is not up`;
    const { cluster, stores, volumes } = upLife.core;
    if (volumes.ids().length !== volumeCount) return `${name} does not serve the volume`;
    const seen = new Set(stores().map(({ id }) => id));
    const { devices } = cluster.topology();
    const out = new Set(devices.flatMap(({ id, state }) => (state === 'out' ? [id] : [])));
    for (const id of all) {
      if (!seen.has(id)) return `${name} does not see store ${id}`;
      if (out.has(id)) return `${name} takes store ${id} for out`;
    }
  }
  return undefined;
}
