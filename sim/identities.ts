/**
 * Who the machines of a run are: keys and certificates, from the seed. Who may talk is decided by a
 * list of members; that certificates are judged rightly is tested elsewhere.
 */
import { type ClusterId, hexId, type NodeId } from '../src/base/index.ts';
import { Members, VolumeGrants } from '../src/cluster/index.ts';
import { adminKeyring, type Keyring } from '../src/crypto/index.ts';
import type { Env } from '../src/env/index.ts';
import type { Registry } from '../src/log/index.ts';
import type { Admission } from '../src/net/index.ts';
import { memberKeyring } from '../test/suites/admission-bed.ts';
import type { SeededRandom } from './random.ts';

export class Identities {
  readonly #random: SeededRandom;
  readonly #founder: Keyring;
  readonly #admitted = new Set<NodeId>();
  #count = 0;

  constructor(random: SeededRandom) {
    this.#random = random.fork('identities');
    const keys = {
      clusterId: hexId<ClusterId>(this.#random.bytes(16)),
      clusterKey: this.#random.bytes(32),
      metadataKey: this.#random.bytes(32),
      nodeSeed: this.#random.bytes(32),
      volumes: new Map(),
    };
    this.#founder = adminKeyring(keys, 0);
  }

  /** The first is the home's. */
  next(): Keyring {
    const number = this.#count++;
    if (number === 0) return this.#founder;
    return memberKeyring(this.#founder, this.#random.bytes(32), number);
  }

  readonly admission: Admission = {
    credentials: () => new Uint8Array(),
    judge: (remote) => (this.#admitted.has(remote) ? 'member' : 'stranger'),
  };

  admit(node: NodeId): void {
    this.#admitted.add(node);
  }

  dismiss(node: NodeId): void {
    this.#admitted.delete(node);
  }

  /** Members and grants as a registry has them. */
  records({ env, registry }: { env: Env; registry: Registry }): {
    members: Members;
    grants: VolumeGrants;
  } {
    const { clusterId, clusterPublicKey } = this.#founder;
    const members = new Members({ env, registry, clusterId, clusterPublicKey });
    return { members, grants: new VolumeGrants({ env, registry, members }) };
  }
}
