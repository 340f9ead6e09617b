/** A volume's one cell on the node that has it all: all its interfaces over one steward. */
import { SLOT_COUNT } from '../cells/rows.ts';
import { type CellParts, Steward } from '../cells/steward.ts';
import { makeRoot } from '../namespace/namespace-ops.ts';
import { volumeApis } from './volume-apis.ts';
import { type VolumeDoors, volumeDoors } from './volume-tables.ts';

export interface VolumeCell extends VolumeDoors, AsyncDisposable {}

/** Bytes of a directory's salt. */
const SALT_BYTES = 16;

/** Opens the cell as its steward, and makes the root directory of a new one. */
export async function openVolumeCell(parts: CellParts): Promise<VolumeCell> {
  const { env } = parts;
  const steward = await Steward.open(parts);
  const salt = env.random.bytes(SALT_BYTES);
  await steward.execute((rows) => makeRoot(rows, { salt, nowMs: env.clock.now() }));
  const slots = { from: 0, to: SLOT_COUNT };
  const view = () => ({ epoch: steward.position.epoch, slots });
  const apis = volumeApis({ env, executor: steward, view });
  const ending = new AbortController();
  const running = apis.run({ signal: ending.signal });
  return {
    ...volumeDoors((name) => ({
      ...apis.doors[name](steward),
      async [Symbol.asyncDispose]() {}, // they close with the cell
    })),
    async [Symbol.asyncDispose]() {
      ending.abort();
      await steward[Symbol.asyncDispose]();
      await running;
    },
  };
}
