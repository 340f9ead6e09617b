/**
 * Who the machines of a run are: keys and certificates, from the seed. Who may talk is decided by a
 * list of members; that certificates are judged rightly is tested elsewhere.
 */
import { type ClusterId, hexId, type NodeId, type VolumeId } from '../src/base/index.ts';
import { Members, VolumeGrants } from '../src/cluster/index.ts';
import {
  adminKeyring,
  BoxKey,
  issueCertificate,
  type Keyring,
  NodeKey,
  ROLES,
  SigningKey,
} from '../src/crypto/index.ts';
import type { Env } from '../src/env/index.ts';
import type { Registry } from '../src/log/index.ts';
import type { Admission } from '../src/net/index.ts';
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
    const { clusterId, clusterPublicKey, clusterSecret, clusterKey } = this.#founder;
    const nodeSeed = this.#random.bytes(32);
    const certificate = issueCertificate(new SigningKey(clusterKey!), {
      clusterId,
      publicKey: new NodeKey(nodeSeed).publicKey,
      boxKey: BoxKey.ofNode(nodeSeed).publicKey,
      roles: ROLES.store,
      serial: 1,
      issuedAtMs: number,
      notAfterMs: 0,
    });
    const volumes = new Map<VolumeId, Uint8Array>();
    return { clusterId, clusterPublicKey, clusterSecret, nodeSeed, certificate, volumes };
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
