/**
 * Open invitations, `invitation/<id>` in the registry, each
 *
 *     u8 1 | public key 32 | roles u16 | expires at u64 | signature of the cluster key 64
 *     | certificate (bytes): empty, or what it was used for
 *
 * The id is that of the public key; the secret stands in the token alone. Only who holds the
 * cluster key can sign one, so whoever writes the registry cannot invite, nor raise what an
 * invitation gives. An invitation is used up by putting the new member's certificate into it, in
 * one compare-and-set: from then on it stands for that certificate and no other.
 */
import {
  ByteReader,
  ByteWriter,
  type ClusterId,
  concatBytes,
  errorCode,
  fromHex,
  HoldfastError,
  LIMITS,
  mapBounded,
  type NodeId,
  utf8,
} from '../base/index.ts';
import {
  areRoles,
  encodeInvitation,
  INVITATION_ADDRESSES_MAX,
  INVITATION_SECRET_BYTES,
  invitationKey,
  isSignedBy,
  keyId,
  PUBLIC_KEY_BYTES,
  readCertificate,
  SIGNATURE_BYTES,
  type SigningKey,
} from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import { changeKey } from './change-key.ts';

export interface InvitationsOptions {
  readonly env: Env;
  readonly registry: Registry;
  readonly clusterId: ClusterId;
  readonly clusterPublicKey: Uint8Array;
}

/** An invitation as the registry has it. */
export interface InvitationRecord {
  readonly publicKey: Uint8Array;
  /** What who joins with it may do. */
  readonly roles: number;
  readonly expiresAtMs: number;
  /** Empty until it is used. */
  readonly certificateBytes: Uint8Array;
}

export interface NewInvitation {
  /** Of the cluster: an admin node invites. */
  readonly clusterKey: SigningKey;
  /** Who answers: an admin node, or one that reaches an admin node. */
  readonly inviter: NodeId;
  /** Of the inviter, the best first; those that do not fit are left out. */
  readonly addresses: readonly [string, ...string[]];
  readonly roles: number;
  /** At most LIMITS.invitationLifeMsMax. */
  readonly lifeMs: number;
}

const PREFIX = 'invitation/';
const RECORD_VERSION = 1;
const PURPOSE = utf8('holdfast/1 invitation record');
/** Records removed at once. */
const REQUESTS_MAX = 16;
const UNKNOWN = 'the invitation is not known here';

export class Invitations {
  readonly #options: InvitationsOptions;

  constructor(options: InvitationsOptions) {
    this.#options = options;
  }

  /**
   * @returns the token for who is to join; it is kept nowhere.
   * @throws HF_BAD_ARGUMENT; HF_TOO_LARGE when LIMITS.invitationsMax are open.
   */
  async create(wanted: NewInvitation): Promise<string> {
    const { env, clusterId, clusterPublicKey } = this.#options;
    const { clusterKey, inviter, addresses, roles, lifeMs } = wanted;
    if (!areRoles(roles)) throw new HoldfastError('HF_BAD_ARGUMENT', 'the roles are not known');
    if (!(lifeMs > 0 && lifeMs <= LIMITS.invitationLifeMsMax)) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'an invitation is open for at most 30 days');
    }
    const secret = env.random.bytes(INVITATION_SECRET_BYTES);
    const expiresAtMs = env.clock.now() + Math.ceil(lifeMs);
    const about = { clusterId, clusterKeyId: keyId(clusterPublicKey), inviter, expiresAtMs };
    const token = encodeFitting({ ...about, secret }, addresses);
    await this.#makeRoom();
    const { publicKey } = invitationKey({ secret });
    const record = { publicKey, roles, expiresAtMs, certificateBytes: new Uint8Array(0) };
    const signature = clusterKey.sign(this.#signedBytes(record));
    await changeKey(this.#options, PREFIX + keyId(publicKey), () => ({
      result: undefined,
      value: encodeRecord(record, signature),
    }));
    return token;
  }

  /** Those that can still be used. */
  async list(): Promise<InvitationRecord[]> {
    const nowMs = this.#options.env.clock.now();
    return (await this.#options.registry.list(PREFIX))
      .map(({ key, value }) => this.#genuine(key, value)?.record)
      .filter((record) => record !== undefined)
      .filter(({ expiresAtMs, certificateBytes }) => {
        return expiresAtMs > nowMs && certificateBytes.length === 0;
      });
  }

  /** Whether there is such an invitation, used or not. */
  async isKnown(publicKey: Uint8Array): Promise<boolean> {
    const key = PREFIX + keyId(publicKey);
    const stored = await this.#options.registry.get(key);
    return this.#genuine(key, stored?.value) !== undefined;
  }

  /** Takes an invitation back. */
  async cancel(publicKey: Uint8Array): Promise<void> {
    const nothing = { result: undefined, value: undefined };
    await changeKey(this.#options, PREFIX + keyId(publicKey), () => nothing);
  }

  /**
   * Uses an invitation up for a node. The same node may ask again: it gets the same certificate.
   * @param issue makes a certificate of the node with the roles of the invitation.
   * @returns the certificate for which the invitation stands.
   * @throws HF_DENIED when it is not known, has expired, or was used by another node.
   */
  async use(
    { publicKey, nodeId }: { readonly publicKey: Uint8Array; readonly nodeId: NodeId },
    issue: (roles: number) => Uint8Array,
  ): Promise<Uint8Array> {
    const key = PREFIX + keyId(publicKey);
    return await changeKey(this.#options, key, (value) => {
      const found = this.#genuine(key, value);
      if (!found) throw new HoldfastError('HF_DENIED', UNKNOWN);
      const { record, signature } = found;
      if (record.expiresAtMs <= this.#options.env.clock.now()) {
        throw new HoldfastError('HF_DENIED', 'the invitation has expired; ask for another');
      }
      if (record.certificateBytes.length > 0) {
        const usedBy = readCertificate(record.certificateBytes, this.#options).nodeId;
        if (usedBy === nodeId) return { result: record.certificateBytes };
        throw new HoldfastError('HF_DENIED', 'the invitation has been used; ask for another');
      }
      const certificateBytes = issue(record.roles);
      const used = { ...record, certificateBytes };
      return { result: certificateBytes, value: encodeRecord(used, signature) };
    });
  }

  /** Removes those that have expired. @throws HF_TOO_LARGE when too many are left. */
  async #makeRoom(): Promise<void> {
    const nowMs = this.#options.env.clock.now();
    const stored = await this.#options.registry.list(PREFIX);
    const over = stored.filter(({ key, value }) => {
      const found = this.#genuine(key, value);
      return !found || found.record.expiresAtMs <= nowMs;
    });
    await mapBounded(over, REQUESTS_MAX, async ({ key, version }) => {
      await this.#options.registry.compareAndSet(key, version, undefined);
    });
    if (stored.length - over.length < LIMITS.invitationsMax) return;
    const text = `${LIMITS.invitationsMax} invitations are open; wait, or cancel some`;
    throw new HoldfastError('HF_TOO_LARGE', text);
  }

  #signedBytes({ publicKey, roles, expiresAtMs }: InvitationRecord): Uint8Array {
    const body = new ByteWriter().raw(publicKey).u16(roles).u64(expiresAtMs).finish();
    return concatBytes(PURPOSE, fromHex(this.#options.clusterId), body);
  }

  /** `undefined` when the cluster key did not sign it, or it was another invitation's. */
  #genuine(key: string, value: Uint8Array | undefined) {
    if (!value) return undefined;
    try {
      const { record, signature } = decodeRecord(value);
      if (PREFIX + keyId(record.publicKey) !== key) return undefined;
      const signed = { message: this.#signedBytes(record), signature };
      if (isSignedBy(this.#options.clusterPublicKey, signed)) return { record, signature };
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
    }
    return undefined;
  }
}

/** With as many of the addresses as there is room for. */
function encodeFitting(
  invitation: Omit<Parameters<typeof encodeInvitation>[0], 'addresses'>,
  addresses: readonly string[],
): string {
  for (let count = Math.min(addresses.length, INVITATION_ADDRESSES_MAX); count > 1; count--) {
    try {
      return encodeInvitation({ ...invitation, addresses: addresses.slice(0, count) });
    } catch (error) {
      if (errorCode(error) !== 'HF_TOO_LARGE') throw error;
    }
  }
  return encodeInvitation({ ...invitation, addresses: addresses.slice(0, 1) });
}

function encodeRecord(record: InvitationRecord, signature: Uint8Array): Uint8Array {
  const { publicKey, roles, expiresAtMs, certificateBytes } = record;
  const writer = new ByteWriter().u8(RECORD_VERSION).raw(publicKey).u16(roles).u64(expiresAtMs);
  return writer.raw(signature).bytes(certificateBytes).finish();
}

/** @throws HF_CORRUPT. */
function decodeRecord(bytes: Uint8Array): { record: InvitationRecord; signature: Uint8Array } {
  const reader = new ByteReader(bytes, 'invitation record');
  if (reader.u8() !== RECORD_VERSION) throw reader.corrupt('its version is not known');
  const publicKey = new Uint8Array(reader.raw(PUBLIC_KEY_BYTES));
  const [roles, expiresAtMs] = [reader.u16(), reader.u64()];
  const signature = new Uint8Array(reader.raw(SIGNATURE_BYTES));
  const certificateBytes = new Uint8Array(reader.bytes());
  reader.end();
  return { record: { publicKey, roles, expiresAtMs, certificateBytes }, signature };
}
