/**
 * Independent answers to what the codec should say. Nothing here uses src/codec:
 *
 * - arithmetic by logarithms, whereas the product has tables of products;
 * - the npm package @subspace/reed-solomon-erasure.wasm (the Rust crate reed-solomon-erasure);
 * - zfec and ISA-L through `peers.py`, where the machine has them.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import subspace from '@subspace/reed-solomon-erasure.wasm';

type Bytes = Uint8Array;

export interface Arithmetic {
  multiply(a: number, b: number): number;
  inverse(a: number): number;
}

/** @param generator an element whose powers are all elements but 0: 2 for 0x11d, 3 for 0x11b. */
export function logArithmetic(polynomial: number, generator: number): Arithmetic {
  const powers: number[] = [];
  for (let value = 1; powers.length < 255; value = slowProduct(value, generator, polynomial)) {
    powers.push(value);
  }
  const logs = new Map(powers.map((value, exponent) => [value, exponent]));
  if (logs.size !== 255) throw new Error(`${generator} does not generate the field`);
  return {
    multiply: (a, b) => (a && b ? powers[(logs.get(a)! + logs.get(b)!) % 255]! : 0),
    inverse: (a) => powers[(255 - logs.get(a)!) % 255]!,
  };
}

/** Long multiplication, bit by bit. */
function slowProduct(a: number, b: number, polynomial: number): number {
  let sum = 0;
  for (let bit = 7; bit >= 0; bit--) {
    sum <<= 1;
    if (sum & 0x100) sum ^= polynomial;
    if ((b >> bit) & 1) sum ^= a;
  }
  return sum;
}

/** Row i × sources, for each row. */
export function multiplyRows(
  field: Arithmetic,
  rows: readonly Bytes[],
  sources: readonly Bytes[],
): Bytes[] {
  return rows.map((row) =>
    Uint8Array.from({ length: sources[0]!.length }, (_, at) =>
      row.reduce((sum, factor, i) => sum ^ field.multiply(factor, sources[i]![at]!), 0),
    ),
  );
}

/** 1 / ((k + i) ⊕ j) for i < n, j < k. */
export function cauchyRows(field: Arithmetic, k: number, n: number): Bytes[] {
  return Array.from({ length: n }, (_, i) =>
    Uint8Array.from({ length: k }, (_unused, j) => field.inverse((k + i) ^ j)),
  );
}

/** A run of bytes that is the same every time (xorshift, 32 bits). */
export function sampleBytes(count: number, seed: number): Bytes {
  let state = (seed * 0x9e3779b1) | 1;
  return Uint8Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 24;
  });
}

export function samplePieces(count: number, length: number): Bytes[] {
  return Array.from({ length: count }, (_, index) => sampleBytes(length, index + 1));
}

export type Encode = (pieces: readonly Bytes[]) => Bytes[];

/** All n shards, by the npm package. */
export async function subspaceEncoder(k: number, n: number): Promise<Encode> {
  const codec = await subspace.ReedSolomonErasure.fromCurrentDirectory();
  return (pieces) => {
    const length = pieces[0]!.length;
    const joined = new Uint8Array(n * length);
    pieces.forEach((piece, index) => joined.set(piece, index * length));
    const result = codec.encode(joined, k, n - k);
    if (result !== 0) throw new Error(`the encoder failed with ${result}`);
    return Array.from({ length: n }, (_, i) => joined.slice(i * length, (i + 1) * length));
  };
}

export type Peer = 'zfec' | 'isal';

interface PeerAnswer {
  readonly version?: string;
  readonly shards?: readonly string[];
}

function askPeer(request: { peer: Peer; k?: number; n?: number; pieces?: string[] }): PeerAnswer {
  const script = fileURLToPath(new URL('./peers.py', import.meta.url));
  const input = JSON.stringify(request);
  // The system's Python: the system's packages are for it and not for another that comes first.
  const { status, stdout } = spawnSync('/usr/bin/python3', [script], { input, encoding: 'utf8' });
  return status === 0 ? (JSON.parse(stdout) as PeerAnswer) : {};
}

/** The peer's version, or `undefined` where this machine lacks it. */
export function peerVersion(peer: Peer): string | undefined {
  return askPeer({ peer }).version;
}

/** All n shards by zfec; by ISA-L the n lower rows of its Cauchy matrix with n + k rows. */
export function peerEncoder(peer: Peer, k: number, n: number): Encode {
  return (pieces) => {
    const hex = pieces.map((piece) => Buffer.from(piece).toString('hex'));
    const { shards } = askPeer({ peer, k, n, pieces: hex });
    if (!shards) throw new Error(`${peer} gave no answer`);
    return shards.map((shard) => new Uint8Array(Buffer.from(shard, 'hex')));
  };
}
