/**
 * What nodes tell each other of members, as it travels. An *entry* is one member in 29 bytes: id,
 * incarnation, health, and for how many seconds that health has held. Everything read here comes
 * from another node and is bounded and checked.
 *
 * | method | asked with | answered with |
 * |---|---|---|
 * | gossip.compare | a hash of each cell of the table | which cells differ, and their entries |
 * | gossip.share | records, entries, ids of records that are wanted | records, entries |
 * | gossip.ping | | |
 * | gossip.pingFor | a node | whether that node answers |
 * | gossip.find | a node | records of those closest to it |
 */
import {
  assert,
  ByteReader,
  ByteWriter,
  hexId,
  HoldfastError,
  LIMITS,
  type NodeId,
} from '../base/index.ts';
import type { Health } from './types.ts';

export const METHOD = {
  compare: 'gossip.compare',
  share: 'gossip.share',
  ping: 'gossip.ping',
  pingFor: 'gossip.pingFor',
  find: 'gossip.find',
} as const;

/** The members whose ids share their first six bits are one cell of the digest. */
export const CELL_COUNT = 64;
const CELL_HASH_BYTES = 8;

/** Worst last: of two entries with one incarnation the later one in this list holds. */
export const HEALTHS: readonly Health[] = ['alive', 'suspect', 'dead', 'left'];

const ID_BYTES = 16;
const ENTRY_BYTES = ID_BYTES + 8 + 1 + 4;
const AGE_SECONDS_MAX = 0xffff_ffff;

export interface Entry {
  readonly node: NodeId;
  readonly incarnation: number;
  readonly health: Health;
  /** How long it has been so, in whole seconds when it has travelled. */
  readonly ageMs: number;
}

/** Which cells differ, in the order of their numbers. */
export interface Comparison {
  readonly cells: readonly number[];
  readonly entries: readonly Entry[];
}

export interface Share {
  readonly records: readonly Uint8Array[];
  readonly entries: readonly Entry[];
  readonly wants: readonly NodeId[];
}

export function cellOf(node: NodeId): number {
  return Number.parseInt(node.slice(0, 2), 16) >> 2;
}

export function cellsMessage(hashes: readonly bigint[]): unknown {
  assert(hashes.length === CELL_COUNT, 'each cell has a hash');
  const writer = new ByteWriter(CELL_COUNT * CELL_HASH_BYTES);
  for (const hash of hashes) writer.bigU64(hash);
  return { cells: writer.finish() };
}

/** @throws HF_BAD_ARGUMENT, as all readers here. */
export function readCells(message: unknown): bigint[] {
  const bytes = bytesOf(fieldsOf(message)['cells'], CELL_COUNT * CELL_HASH_BYTES);
  if (bytes.length !== CELL_COUNT * CELL_HASH_BYTES) throw bad('its cells are not well formed');
  const reader = new ByteReader(bytes, 'cells');
  return Array.from({ length: CELL_COUNT }, () => reader.bigU64());
}

export function comparisonMessage({ cells, entries }: Comparison): unknown {
  return { cells: Uint8Array.from(cells), entries: packEntries(entries) };
}

export function readComparison(message: unknown): Comparison {
  const { cells, entries } = fieldsOf(message);
  const numbers = [...bytesOf(cells, CELL_COUNT)];
  if (numbers.some((cell) => cell >= CELL_COUNT)) throw bad('it names a cell that is none');
  return { cells: numbers, entries: unpackEntries(entries) };
}

export function shareMessage({ records, entries, wants }: Share): unknown {
  return { records, entries: packEntries(entries), wants: packIds(wants) };
}

export function readShare(message: unknown): Share {
  const { records, entries, wants } = fieldsOf(message);
  return {
    records: readRecordList(records),
    entries: unpackEntries(entries),
    wants: unpackIds(wants),
  };
}

export function nodeMessage(node: NodeId): unknown {
  return { node: packIds([node]) };
}

export function readNode(message: unknown): NodeId {
  const [node, ...more] = unpackIds(fieldsOf(message)['node']);
  if (node === undefined || more.length > 0) throw bad('it names no node');
  return node;
}

export function recordsMessage(records: readonly Uint8Array[]): unknown {
  return { records };
}

export function readRecords(message: unknown): readonly Uint8Array[] {
  return readRecordList(fieldsOf(message)['records']);
}

/** Ids are checked where they are made. */
function rawId(node: NodeId): Uint8Array {
  return Buffer.from(node, 'hex');
}

function packEntries(entries: readonly Entry[]): Uint8Array {
  const writer = new ByteWriter(entries.length * ENTRY_BYTES);
  for (const { node, incarnation, health, ageMs } of entries) {
    const seconds = Math.min(Math.max(0, Math.floor(ageMs / 1000)), AGE_SECONDS_MAX);
    writer.raw(rawId(node)).u64(incarnation).u8(HEALTHS.indexOf(health)).u32(seconds);
  }
  return writer.finish();
}

function unpackEntries(value: unknown): Entry[] {
  const bytes = bytesOf(value, LIMITS.entriesPerMessageMax * ENTRY_BYTES);
  if (bytes.length % ENTRY_BYTES !== 0) throw bad('its entries are not well formed');
  const reader = new ByteReader(bytes, 'entries');
  return Array.from({ length: bytes.length / ENTRY_BYTES }, () => {
    const node = hexId<NodeId>(reader.raw(ID_BYTES));
    const incarnation = reader.u64();
    const health = HEALTHS[reader.u8()];
    if (!health) throw bad('it names a health that is none');
    return { node, incarnation, health, ageMs: reader.u32() * 1000 };
  });
}

function packIds(nodes: readonly NodeId[]): Uint8Array {
  const writer = new ByteWriter(nodes.length * ID_BYTES);
  for (const node of nodes) writer.raw(rawId(node));
  return writer.finish();
}

function unpackIds(value: unknown): NodeId[] {
  const bytes = bytesOf(value, LIMITS.entriesPerMessageMax * ID_BYTES);
  if (bytes.length % ID_BYTES !== 0) throw bad('its ids are not well formed');
  const reader = new ByteReader(bytes, 'ids');
  return Array.from({ length: bytes.length / ID_BYTES }, () => hexId<NodeId>(reader.raw(ID_BYTES)));
}

/** What is in them is for `decodeRecord`, one by one: one bad record spoils no other. */
function readRecordList(value: unknown): Uint8Array[] {
  if (!Array.isArray(value) || value.length > LIMITS.recordsPerMessageMax) {
    throw bad('its records are not well formed');
  }
  if (!value.every((each) => each instanceof Uint8Array)) throw bad('a record is not bytes');
  return value;
}

function bytesOf(value: unknown, countMax: number): Uint8Array {
  if (value instanceof Uint8Array && value.length <= countMax) return value;
  throw bad('it lacks bytes that it should have');
}

function fieldsOf(message: unknown): Record<string, unknown> {
  if (typeof message === 'object' && message !== null) return message as Record<string, unknown>;
  throw bad('it is no map');
}

function bad(reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', `gossip was refused: ${reason}`);
}
