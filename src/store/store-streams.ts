/**
 * Bytes and lists on a stream between nodes, at the pace of their reader.
 *
 * - A chunk is `u32 length | bytes`, or nothing when there is none.
 * - A list is *batches*: `u32 length | payload`, the payload a sequence of records of one kind.
 */
import type { Duplex } from 'node:stream';
import {
  asBuffer,
  ByteReader,
  ByteWriter,
  errorCode,
  errorMessage,
  HoldfastError,
  MiB,
  NOT_NEEDED,
} from '../base/index.ts';
import type { Clock } from '../env/index.ts';

/** What another node said makes no sense: as good as no answer. */
export function badAnswer(reason: string): HoldfastError {
  return new HoldfastError('HF_UNAVAILABLE', `the other node answered nonsense: ${reason}`);
}

/**
 * Aborts `work` when the time is up or `signal` is aborted, and waits until it has ended.
 * @throws HF_TIMEOUT when it failed after its time.
 */
export async function withinMs<Result>(
  { clock, ms, signal }: { clock: Clock; ms: number; signal?: AbortSignal | undefined },
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const late = new AbortController();
  const done = new AbortController();
  clock.sleep(ms, { signal: done.signal }).then(
    () => late.abort(new HoldfastError('HF_TIMEOUT', `not done within ${ms} ms`)),
    () => {}, // it was done in time
  );
  try {
    return await work(signal ? AbortSignal.any([signal, late.signal]) : late.signal);
  } catch (error) {
    const isLate = late.signal.aborted && !signal?.aborted && errorCode(error) !== undefined;
    throw isLate ? late.signal.reason : error;
  } finally {
    done.abort(NOT_NEEDED);
  }
}

const BATCH_RECORDS = 256;
const HEAD_BYTES = 4;
/** No record is longer than some hundred bytes. */
const BATCH_BYTES_MAX = MiB;

/** Writes records to a stream, at the pace of its reader. */
export class BatchWriter<Item> {
  readonly #stream: Duplex;
  readonly #writeItem: (writer: ByteWriter, item: Item) => void;
  #writer = new ByteWriter(1024);
  #count = 0;

  constructor(stream: Duplex, writeItem: (writer: ByteWriter, item: Item) => void) {
    this.#stream = stream;
    this.#writeItem = writeItem;
  }

  async add(item: Item): Promise<void> {
    this.#writeItem(this.#writer, item);
    this.#count += 1;
    if (this.#count === BATCH_RECORDS) await this.flush();
  }

  /** Sends what was gathered. @throws HF_INTERRUPTED when nobody reads any more. */
  async flush(): Promise<void> {
    if (this.#count === 0) return;
    const payload = this.#writer.finish();
    this.#writer = new ByteWriter(payload.length);
    this.#count = 0;
    await writeAll(
      this.#stream,
      new ByteWriter(payload.length + HEAD_BYTES).bytes(payload).finish(),
    );
  }
}

/** Resolves when the stream wants more. @throws HF_INTERRUPTED when it is gone. */
async function writeAll(stream: Duplex, piece: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stream.write(piece, (error) => {
      if (error) reject(new HoldfastError('HF_INTERRUPTED', undefined, { cause: error }));
      else resolve();
    });
  });
}

/** The records of a stream, batch by batch. @throws HF_UNAVAILABLE when they make no sense. */
export async function* readBatches<Item>(
  stream: Duplex,
  readItem: (reader: ByteReader) => Item,
): AsyncGenerator<Item[]> {
  for await (const payload of payloadsOf(stream)) {
    const items: Item[] = [];
    const reader = new ByteReader(payload, 'answer');
    try {
      while (reader.left > 0) items.push(readItem(reader));
    } catch (error) {
      throw badAnswer(errorMessage(error));
    }
    yield items;
  }
}

async function* payloadsOf(stream: Duplex): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const slice of stream as AsyncIterable<Buffer>) {
    rest = rest.length === 0 ? slice : Buffer.concat([rest, slice]);
    while (rest.length >= HEAD_BYTES) {
      const bytesOfBatch = rest.readUInt32LE(0);
      if (bytesOfBatch > BATCH_BYTES_MAX) throw badAnswer(`a batch of ${bytesOfBatch} bytes`);
      const end = HEAD_BYTES + bytesOfBatch;
      if (rest.length < end) break;
      yield rest.subarray(HEAD_BYTES, end);
      rest = rest.subarray(end);
    }
  }
  if (rest.length > 0) throw badAnswer('it ends in the middle of a batch');
}

/**
 * Reads exactly the bytes of `target` from a stream.
 * @throws the error that `mismatch` makes when there are fewer or more.
 */
export async function readInto(
  slices: AsyncIterable<Buffer>,
  target: Uint8Array,
  mismatch: (reason: string) => HoldfastError,
): Promise<void> {
  let at = 0;
  for await (const slice of slices) {
    if (at + slice.length > target.length) throw mismatch('more bytes came than were announced');
    target.set(slice, at);
    at += slice.length;
  }
  if (at < target.length) throw mismatch(`${target.length - at} bytes did not come`);
}

/** Sends a chunk; its bytes are not changed any more. @throws HF_INTERRUPTED. */
export async function sendChunk(stream: Duplex, bytes: Uint8Array): Promise<void> {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(bytes.length);
  stream.write(head);
  await writeAll(stream, asBuffer(bytes));
}

/**
 * Reads what {@link sendChunk} sent.
 * @param place gives the memory, once the length is known.
 */
export async function readChunk(
  stream: Duplex,
  place: (lengthBytes: number) => Uint8Array,
): Promise<Uint8Array | undefined> {
  const slices = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    let head: Buffer = Buffer.alloc(0);
    while (head.length < HEAD_BYTES) {
      const next = await slices.next();
      if (next.done) {
        if (head.length === 0) return undefined;
        throw badAnswer('it is cut short');
      }
      head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
    }
    const target = place(asBuffer(head).readUInt32LE(0));
    await readInto(following(head.subarray(HEAD_BYTES), slices), target, badAnswer);
    return target;
  } finally {
    await slices.return?.();
  }
}

async function* following(first: Buffer, others: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  for (let next = await others.next(); !next.done; next = await others.next()) yield next.value;
}
