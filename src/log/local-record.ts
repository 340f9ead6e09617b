/**
 * Records of the engine `local`: what stands in one metadata chunk. A record can be found again
 * with nothing but the stores and the metadata key.
 *
 *     magic "HFLR" u32 | version u8 | kind u8 | generation u64 | cell text | epoch u64 | lsn u64
 *     | acknowledged u64 | snapshot lsn u64 | link 32 bytes | sealed bytes | XXH64 of all before
 *
 * - *entry*: an entry of the log; sealed: its bytes.
 * - *fence*: a seizure; `lsn` is the last entry of the older epochs.
 * - *snapshot part*: sealed: its bytes. Counts only if a snapshot names it.
 * - *snapshot*: makes its parts valid; sealed: the hashes of the parts in order.
 *
 * `link` is the hash of the record before: entries and fences of a cell are one chain from nothing
 * (32 zeros). A snapshot's link is the entry that it stands for. `acknowledged` and `snapshot lsn`
 * are the cell's last entry and newest snapshot of which all copies were made when the record was
 * made: so a loss is told from a torn tail, and what a crash left half done from what was done. The
 * header is bound to the sealed bytes; each cell and epoch has a key of its own.
 */
import { asBuffer, ByteReader, ByteWriter, fromHex, toHex, xxh64 } from '../base/index.ts';
import {
  deriveKey,
  digest,
  DIGEST_BYTES,
  NONCE_BYTES,
  openRecord,
  sealRecord,
} from '../crypto/index.ts';
import type { Random } from '../env/index.ts';
import type { CellId, Lsn } from './fenced-log.ts';
import type { MirrorRef } from './mirror.ts';

const MAGIC = 0x524c4648; // "HFLR", little-endian
const VERSION = 1;
const CHECKSUM_BYTES = 8;
/** Of a node: more than it has cells. */
const KEPT_KEYS_MAX = 1024;

const KINDS = ['entry', 'fence', 'snapshot part', 'snapshot'] as const;
export type RecordKind = (typeof KINDS)[number];

/** Hash of a record's bytes, or of nothing; hexadecimal, so that it can be a key of a Map. */
export type RecordHash = string;

/** The link of the first record of a cell. */
export const NO_RECORD: RecordHash = toHex(new Uint8Array(DIGEST_BYTES));

export interface RecordHeader {
  readonly kind: RecordKind;
  /** Of the registry: a newer one makes the records of older ones void (ruling 17). */
  readonly generation: number;
  readonly cell: CellId;
  readonly epoch: number;
  readonly lsn: Lsn;
  readonly acknowledged: Lsn;
  readonly snapshotLsn: Lsn;
  readonly link: RecordHash;
}

export function hashOf(bytes: Uint8Array): RecordHash {
  return toHex(digest(bytes));
}

function encodeHeader(header: RecordHeader): Uint8Array {
  const { kind, generation, cell, epoch, lsn, acknowledged, snapshotLsn, link } = header;
  return new ByteWriter()
    .u32(MAGIC)
    .u8(VERSION)
    .u8(KINDS.indexOf(kind))
    .u64(generation)
    .text(cell)
    .u64(epoch)
    .u64(lsn)
    .u64(acknowledged)
    .u64(snapshotLsn)
    .raw(fromHex(link))
    .finish();
}

/** Header and sealed bytes (a view). @throws HF_CORRUPT. */
function decodeRecord(bytes: Uint8Array): {
  header: RecordHeader;
  aad: Uint8Array;
  sealed: Uint8Array;
} {
  const reader = new ByteReader(bytes, 'record of the log');
  if (reader.u32() !== MAGIC) throw reader.corrupt('it does not begin as one');
  const version = reader.u8();
  if (version !== VERSION) throw reader.corrupt(`version ${version} is not known`);
  const kind = KINDS[reader.u8()];
  if (!kind) throw reader.corrupt('its kind is not known');
  const header: RecordHeader = {
    kind,
    generation: reader.u64(),
    cell: reader.text(),
    epoch: reader.u64(),
    lsn: reader.u64(),
    acknowledged: reader.u64(),
    snapshotLsn: reader.u64(),
    link: toHex(reader.raw(DIGEST_BYTES)),
  };
  const aad = bytes.subarray(0, bytes.length - reader.left);
  const sealed = reader.bytes();
  const checked = bytes.subarray(0, bytes.length - CHECKSUM_BYTES);
  if (reader.bigU64() !== xxh64(checked)) throw reader.corrupt('its checksum is wrong');
  reader.end();
  return { header, aad, sealed };
}

/** @throws HF_CORRUPT when the bytes are no record, or not as they were written. */
export function readHeader(bytes: Uint8Array): RecordHeader {
  return decodeRecord(bytes).header;
}

/** Makes records and opens them. */
export interface RecordSealing {
  /** @returns the record; `hash` is what a record after it links to. */
  seal(header: RecordHeader, body: Uint8Array): { bytes: Uint8Array; hash: RecordHash };
  /** What was sealed. @throws HF_CORRUPT, HF_FORGED. */
  open(bytes: Uint8Array): Uint8Array;
  hashOf(bytes: Uint8Array): RecordHash;
}

/** Under the metadata key. */
export class RecordSealer implements RecordSealing {
  readonly #metadataKey: Uint8Array;
  readonly #random: Random;
  /** One for each epoch of a cell, of those that were used last. */
  readonly #keys = new Map<string, Uint8Array>();

  constructor(metadataKey: Uint8Array, random: Random) {
    this.#metadataKey = metadataKey;
    this.#random = random;
  }

  #key({ generation, cell, epoch }: RecordHeader): Uint8Array {
    const purpose = `holdfast/1 log ${generation}/${cell}/${epoch}`;
    const known = this.#keys.get(purpose);
    if (known) return known;
    const [oldest] = this.#keys.size >= KEPT_KEYS_MAX ? this.#keys.keys() : [];
    if (oldest !== undefined) this.#keys.delete(oldest);
    const key = deriveKey(this.#metadataKey, purpose);
    this.#keys.set(purpose, key);
    return key;
  }

  seal(header: RecordHeader, body: Uint8Array): { bytes: Uint8Array; hash: RecordHash } {
    const aad = encodeHeader(header);
    const nonce = this.#random.bytes(NONCE_BYTES);
    const sealed = sealRecord({ key: this.#key(header), nonce, aad, record: body });
    const bytes = encodeRecord(aad, sealed);
    return { bytes, hash: hashOf(bytes) };
  }

  open(bytes: Uint8Array): Uint8Array {
    const { header, aad, sealed } = decodeRecord(bytes);
    return openRecord({ key: this.#key(header), aad, sealed });
  }

  hashOf(bytes: Uint8Array): RecordHash {
    return hashOf(bytes);
  }
}

/** Seals nothing: for simulations, in which only speed counts. A record's hash is its checksum. */
export const PLAIN_RECORDS: RecordSealing = {
  seal(header, body) {
    const bytes = encodeRecord(encodeHeader(header), body);
    return { bytes, hash: checksumHash(bytes) };
  },
  open: (bytes) => new Uint8Array(decodeRecord(bytes).sealed),
  hashOf: checksumHash,
};

function checksumHash(bytes: Uint8Array): RecordHash {
  const checksum = bytes.subarray(bytes.length - CHECKSUM_BYTES);
  return toHex(checksum).padStart(NO_RECORD.length, '0');
}

function encodeRecord(aad: Uint8Array, sealed: Uint8Array): Uint8Array {
  const checkedBytes = aad.length + 4 + sealed.length;
  const bytes = new Uint8Array(checkedBytes + CHECKSUM_BYTES);
  const buffer = asBuffer(bytes);
  bytes.set(aad);
  buffer.writeUInt32LE(sealed.length, aad.length);
  bytes.set(sealed, aad.length + 4);
  buffer.writeBigUInt64LE(xxh64(bytes.subarray(0, checkedBytes)), checkedBytes);
  return bytes;
}

/** The body of a snapshot record. */
export function encodePartHashes(hashes: readonly RecordHash[]): Uint8Array {
  return fromHex(hashes.join(''));
}

/** @throws HF_CORRUPT. */
export function decodePartHashes(body: Uint8Array): RecordHash[] {
  const reader = new ByteReader(body, 'snapshot of the log');
  const hashes: RecordHash[] = [];
  while (reader.left > 0) hashes.push(toHex(reader.raw(DIGEST_BYTES)));
  return hashes;
}

/** The same body, where the ids of parts are their hashes. */
export function encodePartRefs(refs: readonly MirrorRef[]): Uint8Array {
  return encodePartHashes(refs.map(({ id }) => toHex(id)));
}

/** @throws HF_CORRUPT. */
export function decodePartRefs(body: Uint8Array): MirrorRef[] {
  return decodePartHashes(body).map((hash) => ({ id: fromHex(hash) }));
}
