/**
 * The members of the cluster, as the registry has them: `member/<node>`, each
 *
 *     u8 1 | certificate (bytes) | name (text) | count u8, labels (text, text) | added at u64
 *
 * What decides is the certificate: a record whose certificate the cluster did not sign, or that
 * stands under the name of another node, is no member, and who was revoked is none. Name and labels
 * are the node's own words.
 */
import {
  ByteReader,
  ByteWriter,
  type ClusterId,
  errorCode,
  HoldfastError,
  LIMITS,
  type NodeId,
} from '../base/index.ts';
import { type Certificate, hasRole, readCertificate } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Labels } from '../net/index.ts';
import type { Registry } from '../log/index.ts';
import { changeKey } from './change-key.ts';
import { isRevoked, readRevocations } from './revocations.ts';

/** What a node says of itself when it joins. */
export interface Wishes {
  readonly name: string;
  /** Where it stands: "rack" → "r1". */
  readonly labels: Labels;
}

export interface MemberRecord extends Wishes {
  readonly certificate: Certificate;
  /** The certificate as it was signed. */
  readonly certificateBytes: Uint8Array;
  readonly addedAtMs: number;
}

export interface MembersOptions {
  readonly env: Env;
  readonly registry: Registry;
  readonly clusterId: ClusterId;
  readonly clusterPublicKey: Uint8Array;
}

const PREFIX = 'member/';
const RECORD_VERSION = 1;
const NAME = /^[\w.-]+$/;
const LABEL_KEY = /^[a-z][a-z0-9_.-]{0,31}$/;
const LABEL_VALUE = /^[\w.:/-]+$/;

export class Members {
  readonly #options: MembersOptions;

  constructor(options: MembersOptions) {
    this.#options = options;
  }

  /** Those that are members now, in the order in which their certificates were issued. */
  async list(): Promise<MemberRecord[]> {
    const { registry } = this.#options;
    const revocations = await readRevocations(registry);
    return (await registry.list(PREFIX))
      .map(({ key, value }) => this.#genuine(key, value))
      .filter((record) => record !== undefined)
      .filter(({ certificate }) => !isRevoked(revocations, certificate))
      .toSorted(
        ({ certificate: a }, { certificate: b }) =>
          a.issuedAtMs - b.issuedAtMs || (a.nodeId < b.nodeId ? -1 : 1),
      );
  }

  /** `undefined` also when it was removed. */
  async get(node: NodeId): Promise<MemberRecord | undefined> {
    const { registry } = this.#options;
    const record = await this.stored(node);
    const revocations = await readRevocations(registry);
    return record && !isRevoked(revocations, record.certificate) ? record : undefined;
  }

  /** The record of a node, whether revoked or not. */
  async stored(node: NodeId): Promise<MemberRecord | undefined> {
    const found = await this.#options.registry.get(PREFIX + node);
    return found && this.#genuine(found.key, found.value);
  }

  /**
   * Writes a member down, unless a later certificate of it stands there already.
   * @returns what stands there then.
   * @throws HF_DENIED when the certificate has been revoked, HF_FORGED when the cluster did not
   *   sign it, HF_BAD_ARGUMENT for a name or labels that are none.
   */
  async put(certificateBytes: Uint8Array, wishes: Wishes): Promise<MemberRecord> {
    const { env } = this.#options;
    const certificate = readCertificate(certificateBytes, this.#options);
    const { name, labels } = checkWishes(wishes);
    const record = { certificate, certificateBytes, name, labels, addedAtMs: env.clock.now() };
    await this.#assertCurrent(certificate);
    const key = PREFIX + certificate.nodeId;
    const result = await changeKey(this.#options, key, (value) => {
      const before = value && this.#genuine(key, value);
      if (before && before.certificate.serial >= certificate.serial) return { result: before };
      return { result: record, value: encodeMember(record) };
    });
    // Again: who removes a node revokes first and then forgets the record, perhaps just before.
    await this.#assertCurrent(result.certificate);
    return result;
  }

  /** @throws HF_DENIED */
  async #assertCurrent(certificate: Certificate): Promise<void> {
    if (!isRevoked(await readRevocations(this.#options.registry), certificate)) return;
    throw new HoldfastError('HF_DENIED', `${certificate.nodeId} has been removed`);
  }

  /** Forgets a record whose serial is at most `serial`. */
  async forget(node: NodeId, serial: number): Promise<void> {
    const key = PREFIX + node;
    await changeKey(this.#options, key, (value) => {
      const record = value && this.#genuine(key, value);
      if (record && record.certificate.serial > serial) return { result: undefined };
      return { result: undefined, value: undefined };
    });
  }

  /** A record that is none is passed over: it must not keep the others from being read. */
  #genuine(key: string, value: Uint8Array): MemberRecord | undefined {
    const { env } = this.#options;
    try {
      const record = decodeMember(value, this.#options);
      if (PREFIX + record.certificate.nodeId === key) return record;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
    }
    env.metrics.add('cluster_forged_records', 1);
    env.log.warn('a member record is not genuine', { key });
    return undefined;
  }
}

export function isAdmin({ certificate }: Pick<MemberRecord, 'certificate'>): boolean {
  return hasRole(certificate, 'admin');
}

/** @throws HF_BAD_ARGUMENT when they are not short plain text. */
export function checkWishes({ name, labels }: Wishes): Wishes {
  const bad = (text: string) => new HoldfastError('HF_BAD_ARGUMENT', text);
  if (!NAME.test(name) || name.length > LIMITS.nodeNameCharsMax) {
    const max = LIMITS.nodeNameCharsMax;
    throw bad(`a node is named by 1 to ${max} letters, digits, ".", "-" and "_"`);
  }
  const pairs = Object.entries(labels);
  if (pairs.length > LIMITS.labelsPerNodeMax) {
    throw bad(`a node has at most ${LIMITS.labelsPerNodeMax} labels`);
  }
  for (const [label, value] of pairs) {
    const isValue = LABEL_VALUE.test(value) && value.length <= LIMITS.labelCharsMax;
    if (!LABEL_KEY.test(label) || !isValue) throw bad('a label is a short word = a short word');
  }
  return { name, labels };
}

export function writeWishes(writer: ByteWriter, { name, labels }: Wishes): ByteWriter {
  const pairs = Object.entries(labels);
  writer.text(name).u8(pairs.length);
  for (const [label, value] of pairs) writer.text(label).text(value);
  return writer;
}

/** @throws HF_CORRUPT, HF_BAD_ARGUMENT. */
export function readWishes(reader: ByteReader): Wishes {
  const name = reader.text();
  const pairs = Array.from({ length: reader.u8() }, () => [reader.text(), reader.text()] as const);
  return checkWishes({ name, labels: Object.fromEntries(pairs) });
}

function encodeMember(record: MemberRecord): Uint8Array {
  const writer = new ByteWriter().u8(RECORD_VERSION).bytes(record.certificateBytes);
  return writeWishes(writer, record).u64(record.addedAtMs).finish();
}

function decodeMember(
  bytes: Uint8Array,
  cluster: Pick<MembersOptions, 'clusterId' | 'clusterPublicKey'>,
): MemberRecord {
  const reader = new ByteReader(bytes, 'member record');
  if (reader.u8() !== RECORD_VERSION) throw reader.corrupt('its version is not known');
  const certificateBytes = new Uint8Array(reader.bytes());
  const certificate = readCertificate(certificateBytes, cluster);
  const wishes = readWishes(reader);
  const addedAtMs = reader.u64();
  reader.end();
  return { certificate, certificateBytes, ...wishes, addedAtMs };
}
