/**
 * Secrets of volumes on their way between members, `volume-secret/<volume>/<node>` in the registry:
 * boxed (boxed-secret.ts). Whoever holds a secret may grant it. Such a record says as well that the
 * node is to serve the volume. By default the first three members serve every volume (ruling 1).
 * Taking a grant back keeps a node from being given the secret again; what it has seen it has seen.
 */
import {
  concatBytes,
  errorCode,
  fromHex,
  HoldfastError,
  isHexId,
  mapBounded,
  type NodeId,
  utf8,
  type VolumeId,
} from '../base/index.ts';
import type { BoxKey } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import { boxedSecret, openBoxedSecret } from './boxed-secret.ts';
import { changeKey } from './change-key.ts';
import type { MemberRecord, Members } from './members.ts';

export interface VolumeSecretsOptions {
  readonly env: Env;
  readonly registry: Registry;
  readonly members: Members;
}

type Secrets = ReadonlyMap<VolumeId, Uint8Array>;

/** Members that hold the secret of every volume. */
const DEFAULT_HOLDERS = 3;
const PREFIX = 'volume-secret/';
const PURPOSE = utf8('holdfast/1 volume secret');
/** Records written or removed at once. */
const REQUESTS_MAX = 16;

export class VolumeGrants {
  readonly #options: VolumeSecretsOptions;

  constructor(options: VolumeSecretsOptions) {
    this.#options = options;
  }

  /**
   * Grants a volume, anew if it was granted before.
   * @param secret of the volume; the caller holds it.
   * @throws HF_NOT_FOUND when the node is no member.
   */
  async grant(volume: VolumeId, node: NodeId, secret: Uint8Array): Promise<void> {
    const member = await this.#options.members.get(node);
    if (!member) throw new HoldfastError('HF_NOT_FOUND', `${node} is no member of this cluster`);
    await this.#put({ volume, secret, member }, 'replace');
  }

  /** Grants the volumes whose secrets the caller holds to the first three members. */
  async grantDefaults(secrets: Secrets): Promise<void> {
    const first = (await this.#options.members.list()).slice(0, DEFAULT_HOLDERS);
    const grants = [...secrets].flatMap(([volume, secret]) =>
      first.map((member) => ({ volume, secret, member })),
    );
    await mapBounded(grants, REQUESTS_MAX, (grant) => this.#put(grant, 'keep'));
  }

  /** Members that a volume is granted to. `status` warns while they are fewer than two. */
  async holders(volume: VolumeId): Promise<NodeId[]> {
    const grants = await this.#grantsOfMembers();
    return grants.filter((grant) => grant.volume === volume).map(({ node }) => node);
  }

  /** The same for all volumes that are granted to anybody. */
  async allHolders(): Promise<Map<VolumeId, ReadonlySet<NodeId>>> {
    const holders = new Map<VolumeId, Set<NodeId>>();
    for (const { volume, node } of await this.#grantsOfMembers()) {
      holders.set(volume, (holders.get(volume) ?? new Set()).add(node));
    }
    return holders;
  }

  /** Volumes that are granted to this member and to no other. */
  async onlyHeldBy(node: NodeId): Promise<VolumeId[]> {
    const grants = await this.#grantsOfMembers();
    const others = new Set(
      grants.filter((grant) => grant.node !== node).map(({ volume }) => volume),
    );
    const own = grants.filter((grant) => grant.node === node);
    return own.map(({ volume }) => volume).filter((volume) => !others.has(volume));
  }

  /**
   * @throws HF_NOT_FOUND when there is no such grant; HF_DENIED when it is the last one, since no
   *   other node could grant the volume again.
   */
  async revoke(volume: VolumeId, node: NodeId): Promise<void> {
    const holders = await this.holders(volume);
    if (!holders.includes(node)) {
      throw new HoldfastError('HF_NOT_FOUND', `the volume is not granted to ${node}`);
    }
    if (holders.length === 1) {
      const text = `${node} alone serves the volume; grant it to another node first`;
      throw new HoldfastError('HF_DENIED', text);
    }
    await this.#remove(keyOf(volume, node));
  }

  /** Takes back all grants of a node that is gone. */
  async revokeAll(node: NodeId): Promise<void> {
    const grants = (await this.#grants()).filter((grant) => grant.node === node);
    await mapBounded(grants, REQUESTS_MAX, ({ key }) => this.#remove(key));
  }

  /**
   * The secrets that a node was granted. One that does not open is left out, and logged. Who has a
   * secret of a volume already keeps it: a grant does not say who made it.
   */
  async collect(node: NodeId, boxKey: BoxKey): Promise<Map<VolumeId, Uint8Array>> {
    const { env } = this.#options;
    const secrets = new Map<VolumeId, Uint8Array>();
    for (const grant of await this.#grants()) {
      if (grant.node !== node) continue;
      try {
        const about = aboutGrant(grant.volume, grant.node);
        secrets.set(grant.volume, openBoxedSecret(grant.value, boxKey, about));
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        env.log.warn('a granted volume secret does not open', { volume: grant.volume });
      }
    }
    return secrets;
  }

  async #put(
    { volume, secret, member }: NewGrant,
    ifThereIsOne: 'keep' | 'replace',
  ): Promise<void> {
    const { nodeId, boxKey } = member.certificate;
    const about = aboutGrant(volume, nodeId);
    const record = boxedSecret(this.#options.env, { boxKey }, { about, secret });
    await changeKey(this.#options, keyOf(volume, nodeId), (value) =>
      value && ifThereIsOne === 'keep'
        ? { result: undefined }
        : { result: undefined, value: record },
    );
  }

  async #remove(key: string): Promise<void> {
    await changeKey(this.#options, key, () => ({ result: undefined, value: undefined }));
  }

  async #grantsOfMembers(): Promise<Grant[]> {
    const records = await this.#options.members.list();
    const members = new Set(records.map(({ certificate }) => certificate.nodeId));
    return (await this.#grants()).filter(({ node }) => members.has(node));
  }

  async #grants(): Promise<Grant[]> {
    const stored = await this.#options.registry.list(PREFIX);
    return stored.flatMap(({ key, value }) => {
      const [volume = '', node = ''] = key.slice(PREFIX.length).split('/');
      if (!isHexId(volume) || !isHexId(node)) return [];
      return [{ key, volume: volume as VolumeId, node: node as NodeId, value }];
    });
  }
}

interface NewGrant {
  readonly volume: VolumeId;
  readonly secret: Uint8Array;
  readonly member: MemberRecord;
}

interface Grant {
  readonly key: string;
  readonly volume: VolumeId;
  readonly node: NodeId;
  readonly value: Uint8Array;
}

function aboutGrant(volume: VolumeId, node: NodeId): Uint8Array {
  return concatBytes(PURPOSE, fromHex(volume), fromHex(node));
}

function keyOf(volume: VolumeId, node: NodeId): string {
  return `${PREFIX}${volume}/${node}`;
}
