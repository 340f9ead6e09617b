/** A volume's one cell on the node that has it all: all its interfaces over one steward. */
import { SLOT_COUNT } from '../cells/rows.ts';
import { type CellParts, Steward } from '../cells/steward.ts';
import type { Handles } from '../handles/handles.ts';
import { makeRoot } from '../namespace/namespace-ops.ts';
import type { Namespace } from '../namespace/namespace.ts';
import type { Tree } from '../namespace/tree.ts';
import type { Uploads } from '../uploads/uploads.ts';
import { volumeApis } from './volume-apis.ts';

export interface VolumeCell extends AsyncDisposable {
  /** Closed with the cell. */
  readonly namespace: Namespace;
  readonly tree: Tree;
  readonly handles: Handles;
  readonly uploads: Uploads;
}

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
    namespace: { ...apis.namespace(steward), [Symbol.asyncDispose]: async () => {} },
    tree: apis.tree(steward),
    handles: apis.handles(steward),
    uploads: apis.uploads(steward),
    async [Symbol.asyncDispose]() {
      ending.abort();
      await steward[Symbol.asyncDispose]();
      await running;
    },
  };
}
