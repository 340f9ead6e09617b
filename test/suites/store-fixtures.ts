/** Chunks and effects for the tests of the store: content from a number, the same every time. */
import {
  type ChunkId,
  chunkId,
  metadataChunkId,
  type Scheme,
  schemeNumber,
} from '../../src/base/index.ts';
import { digest } from '../../src/crypto/index.ts';
import { type Env, noMetrics, silentLog } from '../../src/env/index.ts';
import { chunkHeaderBytes, encodeChunkHeader, stripeIdOf } from '../../src/store/index.ts';

export interface TestChunk {
  readonly id: ChunkId;
  readonly bytes: Uint8Array;
}

/** A pseudo-random generator (xorshift32): `below(limit)` is a whole number under it. */
export class TestRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 2_654_435_761) >>> 0) + 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }
}

/** Scheme of the chunks that {@link testChunk} makes. */
export const TEST_SCHEME: Scheme = { kind: 'copy', k: 1, n: 2 };

function pseudoRandomBytes(seed: number, lengthBytes: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(lengthBytes / 4));
  let state = Math.imul(seed + 1, 2_654_435_761) >>> 0;
  for (let at = 0; at < words.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    words[at] = state;
  }
  return new Uint8Array(words.buffer).subarray(0, lengthBytes);
}

/** A metadata chunk of so many bytes; its content depends on the number alone. */
export function testMetadata(number: number, lengthBytes: number): TestChunk {
  const bytes = pseudoRandomBytes(number, lengthBytes);
  return { id: metadataChunkId(digest(bytes)), bytes };
}

/**
 * A chunk of so many bytes: one of two copies, whose ids are spread over all groups; metadata when
 * the bytes are too few for a header.
 */
export function testChunk(number: number, lengthBytes: number): TestChunk {
  const headerBytes = chunkHeaderBytes(TEST_SCHEME);
  if (lengthBytes <= headerBytes) return testMetadata(number, lengthBytes);
  return testStripe(number, TEST_SCHEME, lengthBytes - headerBytes)[0]!;
}

/**
 * Effects without real time: a sleep is over at once and moves the clock; with `sleeps: false` it
 * lasts until it is interrupted, so that nothing happens by itself.
 */
export function testEnv(options: { seed?: number; sleeps?: boolean } = {}): Env {
  const random = new TestRandom(options.seed ?? 1);
  let nowMs = 1_700_000_000_000;
  return {
    random,
    log: silentLog,
    metrics: noMetrics,
    clock: {
      now: () => nowMs,
      monotonic: () => nowMs,
      async sleep(ms, { signal } = {}) {
        if (options.sleeps === false) {
          await new Promise<void>((resolve) => {
            signal?.addEventListener('abort', () => resolve());
          });
        }
        nowMs += ms;
      },
      async turn() {},
      async *every() {},
    },
  };
}

/** All chunks of one stripe in index order; the shards are made up, not encoded. */
export function testStripe(number: number, scheme: Scheme, shardBytes: number): TestChunk[] {
  const isCopy = scheme.kind === 'copy';
  const shards = Array.from({ length: scheme.n }, (_, index) =>
    pseudoRandomBytes(number * 1000 + (isCopy ? 0 : index), shardBytes),
  );
  const header = {
    schemeNumber: schemeNumber(scheme),
    matrixId: isCopy ? 3 : 1,
    shardBytes,
    sealedBytes: shardBytes * scheme.k - 1,
    shardDigests: shards.slice(0, isCopy ? 1 : scheme.n).map((shard) => digest(shard)),
  };
  const headerBytes = chunkHeaderBytes(scheme);
  return shards.map((shard, index) => {
    const bytes = new Uint8Array(headerBytes + shardBytes);
    encodeChunkHeader(header, bytes);
    bytes.set(shard, headerBytes);
    return { id: chunkId(stripeIdOf(header), header.schemeNumber, index), bytes };
  });
}
