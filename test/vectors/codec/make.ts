/**
 * Writes the vectors beside this file anew: `node test/vectors/codec/make.ts`. See README.md. It
 * does not use src/codec; the matrix is read off by encoding pieces that are columns of the
 * identity.
 */
import { writeFileSync } from 'node:fs';
import {
  cauchyRows,
  type Encode,
  logArithmetic,
  multiplyRows,
  samplePieces,
  subspaceEncoder,
} from './oracle.ts';

const SHARD_BYTES = 64;
const field = logArithmetic(0x11d, 2);

function hex(arrays: readonly Uint8Array[]): string[] {
  return arrays.map((bytes) => Buffer.from(bytes).toString('hex'));
}

function write(scheme: string, { k, encode, ...about }: About & { encode: Encode }): void {
  const identity = Array.from({ length: k }, (_, row) =>
    Uint8Array.from({ length: k }, (_unused, column) => (row === column ? 1 : 0)),
  );
  const pieces = samplePieces(k, SHARD_BYTES);
  const vector = {
    scheme,
    polynomial: '0x11d',
    k,
    ...about,
    rows: hex(encode(identity)),
    pieces: hex(pieces),
    shards: hex(encode(pieces)),
  };
  const file = new URL(`./${scheme}.json`, import.meta.url);
  writeFileSync(file, `${JSON.stringify(vector, undefined, 2)}\n`);
}

interface About {
  readonly k: number;
  readonly n: number;
  readonly matrixId: number;
  readonly source: string;
}

for (const [k, m] of [
  [4, 2],
  [10, 4],
  [17, 3],
] as const) {
  const encode = await subspaceEncoder(k, k + m);
  const source = '@subspace/reed-solomon-erasure.wasm 0.2.5';
  write(`rs-${k}+${m}`, { k, n: k + m, matrixId: 1, source, encode });
}

for (const [k, n] of [
  [3, 5],
  [10, 14],
] as const) {
  const encode: Encode = (pieces) => multiplyRows(field, cauchyRows(field, k, n), pieces);
  const source = 'arithmetic by logarithms (oracle.ts)';
  write(`ida-${k}of${n}`, { k, n, matrixId: 2, source, encode });
}
