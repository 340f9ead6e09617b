/** What the machines of a run share, and what a life of a node on one of them consists of. */
import type { ClusterId, Mutex, NodeId } from '../src/base/index.ts';
import type { Keyring } from '../src/crypto/index.ts';
import type { LocalDb } from '../src/db/index.ts';
import type { References } from '../src/meta/index.ts';
import type { Core, MetadataOptions, VolumeSecrets } from '../src/node/index.ts';
import type { Repair } from '../src/repair/index.ts';
import type { ChunkStore, ExtentStore } from '../src/store/index.ts';
import type { SimDisk } from './disk.ts';
import type { Identities } from './identities.ts';
import type { Planted } from './planting.ts';
import type { SeededRandom } from './random.ts';
import type { Process, VirtualTime } from './sim-env.ts';
import type { LifeLine, SimNet } from './sim-net.ts';
import type { Trace } from './trace.ts';

export interface AllThereIs {
  /** `undefined` while the home is not up. */
  readonly references: References | undefined;
  readonly stores: readonly ChunkStore[];
}

/** What the machines of a run have in common. */
export interface Site {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly trace: Trace;
  readonly planted: Planted;
  readonly clusterId: ClusterId;
  readonly metadataKey: Uint8Array;
  /** `undefined` where there is one machine, which knows no others. */
  readonly others:
    | {
        readonly net: SimNet;
        readonly identities: Identities;
        readonly home: () => NodeId;
        readonly addresses: () => readonly string[];
        /** What an observer sees who sees everything. */
        readonly all: () => AllThereIs;
        /** How long a node may be away before it is written off. */
        readonly nodeGraceMs: number;
      }
    | undefined;
  readonly isImpaired: (disk: SimDisk) => boolean;
  /** Told whenever a node has come up, or is no more. */
  readonly onChange: () => void;
  /** A promise does not hold: the run ends. */
  readonly report: (violation: string) => void;
}

/** A life of a node, from start to end. */
export interface Life {
  readonly process: Process;
  readonly stores: Map<SimDisk, ExtentStore>;
  readonly ended: Promise<void>;
  readonly end: () => void;
  readonly reopening: Mutex;
  /** Rises whenever a store comes or goes. */
  storeChanges: number;
  line: LifeLine | undefined;
  core: Core | undefined;
  repair: Repair | undefined;
  resources: AsyncDisposable | undefined;
}

/** A machine as the node on it knows it. */
export interface Host {
  readonly id: NodeId;
  readonly name: string;
  readonly isHome: boolean;
  readonly keyring: Keyring | undefined;
  readonly secrets: VolumeSecrets;
  devices(): MetadataOptions['devices'];
  openDb(cell: string): LocalDb;
  reopenFailed(life: Life): Promise<void>;
  note(what: string): void;
}

export function aliveStores({ stores, process }: Life): ExtentStore[] {
  if (process.isDead) return [];
  return [...stores.values()].filter(({ state }) => state !== 'failed');
}
