/**
 * Who is the home, and who is a metadata node, told from what members say. A node *claims* it with
 * its gossip labels: `home`, whose value is its generation as home (home-record.ts), and `meta`,
 * whose value is the generation of the registry that it answers from, with `engine` where that is
 * in no ring (whereabouts.ts). It is
 * believed when its certificate gives it the metadata role. Of several homes the one of the highest
 * generation is it; of equal ones, which were recovered without knowing of each other, the one that
 * was certified last.
 */
import { errorCode, errorMessage, mapBounded, type NodeId } from '../../base/index.ts';
import { type Keyring, readCertificate, ROLES } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import type { MemberView, Network } from '../../net/index.ts';
import { isThere } from '../member-views.ts';
import type { HeardPlace } from './whereabouts.ts';

const PROOFS_AT_ONCE = 4;
const CERTIFICATE_METHOD = 'node.certificate';
const CERTIFICATE_DEADLINE_MS = 3000;

export interface Claim {
  readonly node: NodeId;
  readonly generation: number;
}

/** Of a metadata node: where the registry is that it has seen. */
export interface MetadataClaim extends Claim, HeardPlace {}

export interface HomeClaim extends Claim {
  /** Of its certificate. */
  readonly issuedAtMs: number;
}

export interface HomeClaimsOptions {
  readonly env: Env;
  readonly network: Pick<Network, 'call' | 'handle' | 'members'>;
  /** Of this node, as of the call. */
  readonly keyring: () => Keyring;
  readonly signal: AbortSignal;
}

export class HomeClaims {
  readonly #options: HomeClaimsOptions;
  /** Nodes whose certificate lets them be home, and of when it is. */
  readonly #issuedAtMs = new Map<NodeId, number>();

  /** Registers its method: this node shows its certificate to who asks. */
  constructor(options: HomeClaimsOptions) {
    this.#options = options;
    options.network.handle(CERTIFICATE_METHOD, {}, () => options.keyring().certificate);
  }

  /** The best claim to be home of another node that is here now. */
  async best(): Promise<HomeClaim | undefined> {
    const claims = await this.#proven('home');
    return claims
      .flatMap((claim) => {
        const issuedAtMs = this.#issuedAtMs.get(claim.node);
        return issuedAtMs === undefined ? [] : [{ ...claim, issuedAtMs }];
      })
      .toSorted((one, other) => (isBetter(one, other) ? -1 : 1))[0];
  }

  /** Looks whether nodes are metadata nodes that say so. */
  async proveAll(): Promise<void> {
    await this.#proven('meta');
  }

  /**
   * Other metadata nodes, dead ones as well, that are known to be it; and where each has seen the
   * registry.
   */
  known(): readonly MetadataClaim[] {
    return this.#options.network
      .members()
      .filter(({ node }) => this.#issuedAtMs.has(node))
      .flatMap((member) => {
        const engine = member.labels['engine'] === 'local' ? 'local' : 'etcd';
        return claimOf(member, 'meta').map((claim) => ({ ...claim, engine }));
      });
  }

  async #proven(label: 'home' | 'meta'): Promise<readonly Claim[]> {
    const members = this.#options.network.members();
    const claims = members.filter(isThere).flatMap((member) => claimOf(member, label));
    await mapBounded(claims, PROOFS_AT_ONCE, ({ node }) => this.#prove(node));
    return claims;
  }

  /** Whether a node has proved that it has the metadata role. */
  isMetadataNode(node: NodeId): boolean {
    return this.#issuedAtMs.has(node);
  }

  /** When the certificate of a node was issued, if it was seen and lets it be home. */
  issuedAtMs(node: NodeId): number | undefined {
    return this.#issuedAtMs.get(node);
  }

  async #prove(node: NodeId): Promise<void> {
    if (this.#issuedAtMs.has(node)) return;
    const { env, network, keyring, signal } = this.#options;
    try {
      const options = { deadlineMs: CERTIFICATE_DEADLINE_MS, signal };
      const bytes = await network.call(node, CERTIFICATE_METHOD, null, options);
      if (!(bytes instanceof Uint8Array)) return;
      const { nodeId, roles, issuedAtMs } = readCertificate(bytes, keyring());
      const isHome = nodeId === node && (roles & ROLES.metadata) !== 0;
      if (isHome) this.#issuedAtMs.set(node, issuedAtMs);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('a node does not prove to be home', { node, reason: errorMessage(error) });
    }
  }
}

/** Whether the claim goes before the other one. */
export function isBetter(
  { generation, issuedAtMs }: Omit<HomeClaim, 'node'>,
  other: Omit<HomeClaim, 'node'>,
): boolean {
  if (generation !== other.generation) return generation > other.generation;
  return issuedAtMs > other.issuedAtMs;
}

function claimOf(member: MemberView, name: 'home' | 'meta'): Claim[] {
  const { node, labels } = member;
  const label = labels[name] ?? '';
  const isClaim = /^[1-9]\d{0,9}$/.test(label);
  return isClaim ? [{ node, generation: Number(label) }] : [];
}
