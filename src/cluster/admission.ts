/**
 * Who may talk to this node: those with a certificate of its cluster that names their very key, has
 * not expired and is not revoked. Who shows nothing is a stranger and may only ask to join; who
 * shows something false is sent away, and learns nothing but that (ruling 4).
 *
 * The list of revocations is followed, not asked at each connection. It only grows here: a list
 * that lacks a revocation seen before does not take it back.
 */
import { errorCode, errorMessage, LIMITS, type NodeId } from '../base/index.ts';
import { type Certificate, type Keyring, readCertificate } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import type { Admission, Hello, Network, Verdict } from '../net/index.ts';
import { isRevoked, NO_REVOCATIONS, readRevocations, type Revocations } from './revocations.ts';

/** What a node needs to know of its cluster to tell members from others. */
export type Identity = Pick<Keyring, 'clusterId' | 'clusterPublicKey' | 'certificate'>;

export interface AdmissionOptions {
  readonly env: Env;
  /** None on a node that has not joined yet: to it everybody is a stranger. */
  readonly identity?: Identity | undefined;
  /** As this node last knew it. */
  readonly revocations?: Revocations | undefined;
}

const NOTHING = new Uint8Array(0);
/** Says the same whatever was wrong: it is told to the other end. */
const REFUSED = { refused: 'not admitted' } as const;

export class CertificateAdmission implements Admission {
  readonly #env: Env;
  #identity: Identity | undefined;
  #revocations: Revocations;

  constructor({ env, identity, revocations = NO_REVOCATIONS }: AdmissionOptions) {
    this.#env = env;
    this.#identity = identity;
    this.#revocations = revocations;
  }

  /** What is revoked as far as this node knows; worth keeping over a restart. */
  get revocations(): Revocations {
    return this.#revocations;
  }

  credentials(): Uint8Array {
    return this.#identity?.certificate ?? NOTHING;
  }

  judge(remote: NodeId, { credentials }: Pick<Hello, 'credentials'>): Verdict {
    if (!this.#identity || credentials.length === 0) return 'stranger';
    let certificate: Certificate;
    try {
      certificate = readCertificate(credentials, this.#identity);
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined) throw error;
      return this.#refuse(remote, code);
    }
    if (certificate.nodeId !== remote) return this.#refuse(remote, 'another node');
    if (isRevoked(this.#revocations, certificate)) return this.#refuse(remote, 'revoked');
    const { notAfterMs } = certificate;
    const hasExpired = notAfterMs !== 0 && notAfterMs < this.#env.clock.now();
    return hasExpired ? this.#refuse(remote, 'expired') : 'member';
  }

  /** This node has joined a cluster. Links are to be judged again, or dialled anew. */
  join(identity: Identity): void {
    this.#identity = identity;
  }

  /** @returns whether it says more than before: then links are to be judged again. */
  learn({ version, floors: added }: Revocations): boolean {
    const floors = new Map(this.#revocations.floors);
    let isNew = false;
    for (const [node, floor] of added) {
      const isFull = floors.size >= LIMITS.revocationsMax && !floors.has(node);
      if (isFull || floor <= (floors.get(node) ?? 0)) continue;
      floors.set(node, floor);
      isNew = true;
    }
    const isLosing = [...this.#revocations.floors].some(
      ([node, floor]) => (added.get(node) ?? 0) < floor,
    );
    if (isLosing && version > this.#revocations.version) {
      this.#env.metrics.add('cluster_revocations_lost', 1);
      this.#env.log.error('the list of revocations has lost some; they stay in force here');
    }
    this.#revocations = { version: Math.max(version, this.#revocations.version), floors };
    return isNew;
  }

  #refuse(remote: NodeId, why: string): Verdict {
    this.#env.metrics.add('cluster_refused', 1, { why });
    this.#env.log.debug('a node was not admitted', { node: remote, why });
    return REFUSED;
  }
}

export interface FollowOptions {
  readonly env: Env;
  readonly registry: Registry;
  readonly admission: CertificateAdmission;
  readonly network: Pick<Network, 'handle' | 'call' | 'links' | 'judgeAgain'>;
}

const METHOD = 'cluster.revoked';
const TELL_DEADLINE_MS = 2000;

/** Follows the list of revocations: looks every few seconds, and when it is told to. */
export class RevocationFollower {
  readonly #options: FollowOptions;
  #current: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  /** Said once, however long it lasts. */
  #isFailing = false;

  /** Registers its method at the network. */
  constructor(options: FollowOptions) {
    this.#options = options;
    options.network.handle(METHOD, {}, async () => {
      await this.look();
      return null;
    });
  }

  /** Until `signal` is aborted; to be called once. */
  async run({ signal }: { signal: AbortSignal }): Promise<void> {
    const { env } = this.#options;
    await this.#lookPatiently();
    for await (const _ of env.clock.every(LIMITS.revocationCheckMs, { signal })) {
      await this.#lookPatiently();
    }
  }

  /**
   * Reads the list; those that were revoked are cut off when it resolves. One read at a time; who
   * asks during one waits for the next, which sees what was revoked meanwhile.
   */
  look(): Promise<void> {
    this.#next ??= this.#current
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        this.#current = this.#read();
        return this.#current;
      });
    return this.#next;
  }

  /** Looks, and asks everybody who is connected to do so. Who is not looks within seconds. */
  async tell(): Promise<void> {
    const { network } = this.#options;
    await this.look();
    const members = network.links().filter(({ verdict }) => verdict === 'member');
    const options = { deadlineMs: TELL_DEADLINE_MS };
    const calls = members.map(({ node }) => network.call(node, METHOD, null, options));
    await Promise.allSettled(calls); // as many as there are links, which are few
  }

  async #read(): Promise<void> {
    const { registry, admission, network } = this.#options;
    if (admission.learn(await readRevocations(registry))) network.judgeAgain();
  }

  /** Without the registry what is known stays in force. */
  async #lookPatiently(): Promise<void> {
    const { env } = this.#options;
    try {
      await this.look();
      if (this.#isFailing) env.log.info('the list of revocations can be read again');
      this.#isFailing = false;
    } catch (error) {
      const level = this.#isFailing ? 'debug' : 'warn';
      this.#isFailing = true;
      env.log[level]('the list of revocations cannot be read; what is known stays in force', {
        reason: errorMessage(error),
      });
    }
  }
}
