/**
 * How fast the erasure codec encodes and reconstructs, in one thread, beside other implementations:
 * @subspace/reed-solomon-erasure.wasm, and zfec where the machine has it. Figures are bytes of
 * content a second; peers run in turns with us. Reconstruction restores m lost data shards.
 */
import { spawnSync } from 'node:child_process';
import subspace from '@subspace/reed-solomon-erasure.wasm';
import { formatScheme, KiB, MiB, parseScheme, type Scheme } from '../src/base/index.ts';
import { CodecMemory, openCodec } from '../src/codec/index.ts';
import {
  type BenchRow,
  bytesPerSecond,
  formatTable,
  interleave,
  type Measure,
  rateRow,
} from './harness.ts';

const PAGE_BYTES = 64 * KiB;
const GIGABYTE = 1e9;

interface Contest {
  readonly scheme: Scheme;
  readonly shardBytes: number;
}

interface Competitor {
  readonly encode: Measure;
  readonly reconstruct: Measure;
}

/** Content that no codec can know beforehand. */
function fill(arrays: readonly Uint8Array[]): void {
  for (const [index, array] of arrays.entries()) {
    for (let i = 0; i < array.length; i++) array[i] = (i * 167 + index * 59 + (i >> 8)) & 0xff;
  }
}

function rate({ scheme, shardBytes }: Contest, work: () => void): Measure {
  return async () => (await bytesPerSecond(scheme.k * shardBytes, work)) / GIGABYTE;
}

/** In place, as the pipeline does it: the pieces are the data shards. */
function ours(contest: Contest): Competitor {
  const { scheme, shardBytes } = contest;
  // A few lines beyond a power of two, so that the shards do not compete for the same cache sets.
  const stride = shardBytes + 192;
  const memory = CodecMemory.create({ pages: Math.ceil((scheme.n * stride) / PAGE_BYTES) });
  const shards = Array.from(
    { length: scheme.n },
    (_, index) => new Uint8Array(memory.memory.buffer, index * stride, shardBytes),
  );
  const pieces = shards.slice(0, scheme.k);
  fill(pieces);
  const codec = openCodec(scheme, memory);
  codec.encode(pieces, shards);
  const left = shards.map((shard, index) => (index < lostCount(scheme) ? undefined : shard));
  return {
    encode: rate(contest, () => codec.encode(pieces, shards)),
    reconstruct: rate(contest, () => codec.decode(left, pieces)),
  };
}

/** Arrays that the caller owns, copied in and out: what a library user gets without preparation. */
function oursForeign(contest: Contest): Measure {
  const { scheme, shardBytes } = contest;
  const shards = Array.from({ length: scheme.n }, () => new Uint8Array(shardBytes));
  const pieces = shards.slice(0, scheme.k);
  fill(pieces);
  const codec = openCodec(scheme, CodecMemory.create());
  return rate(contest, () => codec.encode(pieces, shards));
}

async function theirs(contest: Contest): Promise<Competitor> {
  const { scheme, shardBytes } = contest;
  const { k, n } = scheme;
  const peer = await subspace.ReedSolomonErasure.fromCurrentDirectory();
  const shards = new Uint8Array(n * shardBytes);
  fill([shards]);
  const available = Array.from({ length: n }, (_, index) => index >= lostCount(scheme));
  return {
    encode: rate(contest, () => void peer.encode(shards, k, n - k)),
    reconstruct: rate(contest, () => void peer.reconstruct(shards, k, n - k, available)),
  };
}

function lostCount({ k, n }: Scheme): number {
  return Math.min(k, n - k);
}

/** Times itself, so that the start of Python does not count. */
const ZFEC_SCRIPT = `
import sys, time, zfec
k, n, length = map(int, sys.argv[1:])
encoder = zfec.Encoder(k, n)
pieces = [bytes((i * 167 + index * 59) % 256 for i in range(256)) * (length // 256)
          for index in range(k)]
start = time.perf_counter()
count = 0
while time.perf_counter() - start < 0.2:
    encoder.encode(pieces)
    count += 1
print(k * length * count / (time.perf_counter() - start))
`;

/** @returns GB/s of encoding, or `undefined` where there is no zfec. */
function runZfec({ scheme: { k, n }, shardBytes }: Contest): number | undefined {
  const counts = [k, n, shardBytes].map(String);
  const { status, stdout } = spawnSync('/usr/bin/python3', ['-c', ZFEC_SCRIPT, ...counts], {
    encoding: 'utf8',
  });
  return status === 0 ? Number(stdout) / GIGABYTE : undefined;
}

async function compare(contest: Contest): Promise<BenchRow[]> {
  const us = ours(contest);
  const foreign = oursForeign(contest);
  const them = await theirs(contest);
  const hasZfec = runZfec(contest) !== undefined;
  const medians = await interleave({
    encode: us.encode,
    subspaceEncode: them.encode,
    foreignEncode: foreign,
    zfecEncode: () => (hasZfec ? runZfec(contest)! : Number.NaN),
    reconstruct: us.reconstruct,
    subspaceReconstruct: them.reconstruct,
  });
  const what = `${formatScheme(contest.scheme)}, ${contest.shardBytes / KiB} KiB shards`;
  const { encode, foreignEncode, reconstruct } = medians;
  const peer = '@subspace wasm';
  const unit = 'GB/s';
  const peerEncode = { unit, peer, peerValue: medians.subspaceEncode };
  const peerReconstruct = { unit, peer, peerValue: medians.subspaceReconstruct };
  const zfec = { unit, peer: 'zfec', peerValue: medians.zfecEncode };
  return [
    rateRow({ name: `encode ${what}`, value: encode, ...peerEncode }),
    ...(hasZfec ? [rateRow({ name: `encode ${what}`, value: encode, ...zfec })] : []),
    rateRow({ name: `encode ${what}, copied in and out`, value: foreignEncode, ...peerEncode }),
    rateRow({ name: `reconstruct ${what}`, value: reconstruct, ...peerReconstruct }),
  ];
}

export async function bench(): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const text of ['rs-4+2', 'rs-10+4']) {
    for (const shardBytes of [64 * KiB, 1 * MiB]) {
      rows.push(...(await compare({ scheme: parseScheme(text), shardBytes })));
    }
  }
  return rows;
}

if (import.meta.main) console.log(formatTable(await bench()));
