/**
 * The rows of a cell about transactions with other cells and about slot moves:
 * docs/formats/rows.md.
 *
 * *Intent*: what a transaction of another cell has read here and will write, until it is settled.
 * *Commitment*: a transaction of this cell is committed, and these participants may not know yet.
 */
import { ByteReader, ByteWriter, fromUtf8, utf8 } from '../../../base/index.ts';
import type { CellId } from '../../../log/index.ts';
import type { MoveId, PrepareRequest, SlotRange, Txid } from '../cell-peers.ts';
import type { Change } from '../overlay.ts';
import { CELL_SLOT, copyOf, rowKey, SLOT_COUNT, valueReader, valueWriter } from '../rows.ts';

/** Tags of rows of CELL_SLOT that are one cell's own; others hold for all cells of a space. */
export const OWN_TAGS = { slots: 'O', intent: 'K', commitment: 'T', adoption: 'B' } as const;

export const SLOTS_KEY: Uint8Array = rowKey(CELL_SLOT, OWN_TAGS.slots);

/** Which slots a cell has. */
export interface Ownership {
  readonly slots: SlotRange;
  /** Of the last move that was begun here. */
  readonly moveNumber: number;
  /** Owned and frozen, on their way to the target. */
  readonly outgoing?: { readonly slots: SlotRange; readonly target: CellId } | undefined;
  /** Another cell's by now; their rows are still being deleted here. */
  readonly leaving?: SlotRange | undefined;
}

/** Of a cell that never had another one beside it. */
export const ALL_SLOTS: Ownership = { slots: { from: 0, to: SLOT_COUNT }, moveNumber: 0 };

const STATE = { settled: 0, outgoing: 1, leaving: 2 } as const;

export function encodeOwnership({ slots, moveNumber, outgoing, leaving }: Ownership): Uint8Array {
  const writer = writeSlots(valueWriter(32), slots).u64(moveNumber);
  if (outgoing) {
    writeSlots(writer.u8(STATE.outgoing), outgoing.slots).text(outgoing.target);
  } else if (leaving) {
    writeSlots(writer.u8(STATE.leaving), leaving);
  } else writer.u8(STATE.settled);
  return writer.finish();
}

/** @throws HF_CORRUPT. */
export function decodeOwnership(bytes: Uint8Array | undefined): Ownership {
  if (!bytes) return ALL_SLOTS;
  const reader = valueReader(bytes, 'slots row');
  const settled = { slots: readSlots(reader), moveNumber: reader.u64() };
  const state = reader.u8();
  let ownership: Ownership = settled;
  if (state === STATE.outgoing) {
    const outgoing = { slots: readSlots(reader), target: reader.text() };
    ownership = { ...settled, outgoing };
  } else if (state === STATE.leaving) ownership = { ...settled, leaving: readSlots(reader) };
  reader.end();
  return ownership;
}

// Intents.

export interface Intent {
  readonly txid: Txid;
  readonly token: Uint8Array;
  readonly reads: PrepareRequest['reads'];
  readonly changes: readonly Change[];
}

export function intentKey(txid: Txid): Uint8Array {
  const name = utf8(txid.cell);
  const cell = new ByteWriter(1 + name.length).u8(name.length).raw(name).finish();
  return rowKey(CELL_SLOT, OWN_TAGS.intent, cell, BigInt(txid.epoch), BigInt(txid.number));
}

export function encodeIntent({ token, reads, changes }: Omit<Intent, 'txid'>): Uint8Array {
  const writer = valueWriter(256).bytes(token).u32(reads.length);
  for (const { from, to, digest } of reads) writer.bytes(from).bytes(to).bigU64(digest);
  writer.u32(changes.length);
  for (const { key, value } of changes) {
    writer.u8(value ? 1 : 2).bytes(key);
    if (value) writer.bytes(value);
  }
  return writer.finish();
}

/** @throws HF_CORRUPT. */
export function decodeIntent(key: Uint8Array, value: Uint8Array): Intent {
  const txid = txidOfIntent(key);
  const reader = valueReader(value, 'intent row');
  const token = copyOf(reader.bytes());
  const reads = [];
  for (let count = reader.u32(); count > 0; count -= 1) {
    const [from, to] = [copyOf(reader.bytes()), copyOf(reader.bytes())];
    reads.push({ from, to, digest: reader.bigU64() });
  }
  const changes: Change[] = [];
  for (let count = reader.u32(); count > 0; count -= 1) {
    const isPut = reader.u8() === 1;
    const changed = copyOf(reader.bytes());
    changes.push({ key: changed, value: isPut ? copyOf(reader.bytes()) : undefined });
  }
  reader.end();
  return { txid, token, reads, changes };
}

function txidOfIntent(key: Uint8Array): Txid {
  const reader = new ByteReader(key.subarray(3), 'intent key');
  const cell = fromUtf8(reader.raw(reader.u8()));
  const txid = { cell, epoch: reader.u64be(), number: reader.u64be() };
  reader.end();
  return txid;
}

// Commitments.

export interface Participant {
  readonly cell: CellId;
  readonly token: Uint8Array;
}

export function commitmentKey({ epoch, number }: Omit<Txid, 'cell'>): Uint8Array {
  return rowKey(CELL_SLOT, OWN_TAGS.commitment, BigInt(epoch), BigInt(number));
}

export function txidOfCommitment(cell: CellId, key: Uint8Array): Txid {
  const reader = new ByteReader(key.subarray(3), 'commitment key');
  const txid = { cell, epoch: reader.u64be(), number: reader.u64be() };
  reader.end();
  return txid;
}

export function encodeCommitment(participants: readonly Participant[]): Uint8Array {
  const writer = valueWriter(64).u32(participants.length);
  for (const { cell, token } of participants) writer.text(cell).bytes(token);
  return writer.finish();
}

/** @throws HF_CORRUPT. */
export function decodeCommitment(value: Uint8Array): Participant[] {
  const reader = valueReader(value, 'commitment row');
  const participants: Participant[] = [];
  for (let count = reader.u32(); count > 0; count -= 1) {
    participants.push({ cell: reader.text(), token: copyOf(reader.bytes()) });
  }
  reader.end();
  return participants;
}

// Adoptions.

/**
 * First what earlier tries have left is cleared. `done`: the slots are owned. `cancelled`: the try
 * is refused from now on, and so are earlier ones.
 */
const ADOPTION_STATES = ['clearing', 'filling', 'done', 'cancelled'] as const;
export type AdoptionState = (typeof ADOPTION_STATES)[number];

/** The newest move from one source; kept for good, so that late messages of it change nothing. */
export interface Adoption {
  readonly number: number;
  readonly attempt: number;
  readonly slots: SlotRange;
  readonly state: AdoptionState;
  /** Of the page that is wanted next. */
  readonly index: number;
  readonly rowCount: number;
  readonly digest: bigint;
}

export function adoptionKey({ source }: Pick<MoveId, 'source'>): Uint8Array {
  return rowKey(CELL_SLOT, OWN_TAGS.adoption, utf8(source));
}

export function encodeAdoption(adoption: Adoption): Uint8Array {
  const writer = valueWriter(64).u64(adoption.number).u64(adoption.attempt);
  writeSlots(writer, adoption.slots).u8(ADOPTION_STATES.indexOf(adoption.state));
  return writer.u64(adoption.index).u64(adoption.rowCount).bigU64(adoption.digest).finish();
}

/** @throws HF_CORRUPT. */
export function decodeAdoption(value: Uint8Array): Adoption {
  const reader = valueReader(value, 'adoption row');
  const [number, attempt, slots] = [reader.u64(), reader.u64(), readSlots(reader)];
  const state = ADOPTION_STATES[reader.u8()];
  if (!state) throw reader.corrupt('its state is not known');
  const adoption = {
    number,
    attempt,
    slots,
    state,
    index: reader.u64(),
    rowCount: reader.u64(),
    digest: reader.bigU64(),
  };
  reader.end();
  return adoption;
}

function writeSlots(writer: ByteWriter, { from, to }: SlotRange): ByteWriter {
  return writer.u16(from).u16(to);
}

function readSlots(reader: ByteReader): SlotRange {
  return { from: reader.u16(), to: reader.u16() };
}
