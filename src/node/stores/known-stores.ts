/** What a data directory knows of its cluster and its stores, for those who look from outside. */
import path from 'node:path';
import type { ClusterId, DeviceId } from '../../base/index.ts';
import { DataDirectory } from '../data-directory.ts';

export interface KnownStores {
  readonly clusterId: ClusterId;
  /** Id of the store that was last seen at a path. */
  idAt(where: string): DeviceId | undefined;
}

/** `undefined` when no node has ever run there. @throws HF_WRONG_KEY, HF_CORRUPT, HF_IO. */
export async function readKnownStores(dataPath: string): Promise<KnownStores | undefined> {
  const data = DataDirectory.unlocked(dataPath);
  const keyring = await data.readKeyring();
  if (!keyring) return undefined;
  const stores = (await data.readStores()) ?? [];
  return {
    clusterId: keyring.clusterId,
    idAt(where) {
      const full = path.resolve(where);
      const entry = stores.find((each) => path.resolve(each.path) === full);
      return entry?.id as DeviceId | undefined;
    },
  };
}
