/**
 * Digests, sealing and names on one thread. Digests are compared with SHA-256 of node:crypto, the
 * engine that is not chosen with the one that is: `src/crypto/digest.ts` takes its threshold from
 * here. Sealing reads and writes shared memory, as the pipeline does.
 */
import { hash as nodeHash } from 'node:crypto';
import { KiB, MiB } from '../src/base/index.ts';
import {
  digest,
  DIGEST_ENGINES,
  type DigestOnce,
  openSegments,
  sealContent,
  sealedBytes,
  NameSeals,
  stripeKey,
  unwrapKey,
  wrapKey,
} from '../src/crypto/index.ts';
import { type Bench, type BenchRow, bytesPerSecond, interleave, rateRow } from './harness.ts';

const KEY = new Uint8Array(32).fill(1);
const GIGA = 1e9;

function sharedBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(count));
  return bytes.map((_, index) => (index * 31 + (index >> 8)) % 251);
}

function sizeText(bytes: number): string {
  return bytes >= MiB ? `${bytes / MiB} MiB` : bytes >= KiB ? `${bytes / KiB} KiB` : `${bytes} B`;
}

/** Many short calls at a time, so that the harness costs nothing. */
function rate(bytes: number, work: () => unknown): () => Promise<number> {
  const callCount = Math.max(1, Math.floor((256 * KiB) / bytes));
  const batch = () => {
    for (let call = 0; call < callCount; call++) work();
  };
  return () => bytesPerSecond(bytes * callCount, batch, { atLeastMs: 100 });
}

async function digestRows(bytes: number): Promise<BenchRow[]> {
  const input = sharedBytes(bytes);
  const engines = Object.entries(DIGEST_ENGINES) as [string, DigestOnce | undefined][];
  const present = engines.filter((engine): engine is [string, DigestOnce] => !!engine[1]);
  const figures = await interleave({
    chosen: rate(bytes, () => digest(input)),
    sha256: rate(bytes, () => nodeHash('sha256', input, 'buffer')),
    ...Object.fromEntries(present.map(([name, once]) => [name, rate(bytes, () => once(input))])),
  });
  return Object.entries<number>(figures)
    .filter(([name]) => name !== 'sha256')
    .map(([name, value]) =>
      rateRow({
        name: `digest ${name}, ${sizeText(bytes)}`,
        value: value / GIGA,
        unit: 'GB/s',
        peer: 'SHA-256, node:crypto',
        peerValue: figures.sha256 / GIGA,
      }),
    );
}

async function sealingRows(bytes: number): Promise<BenchRow[]> {
  const content = sharedBytes(bytes);
  const target = sharedBytes(sealedBytes(bytes));
  const sealed = sharedBytes(target.length);
  const opened = sharedBytes(bytes);
  const format = 1;
  sealContent({ content, key: KEY, format, target: sealed });
  const seal = (key: Uint8Array) => sealContent({ content, key, format, target });
  const figures = await interleave({
    seal: rate(bytes, () => seal(KEY)),
    'digest, key and seal': rate(bytes, () =>
      seal(stripeKey({ secret: KEY, format, contentDigest: digest(content) })),
    ),
    open: rate(bytes, () =>
      openSegments({ sealed, sealedBytes: sealed.length, key: KEY, format, target: opened }),
    ),
  });
  return Object.entries(figures).map(([name, value]) =>
    rateRow({ name: `${name}, ${sizeText(bytes)}`, value: value / GIGA, unit: 'GB/s' }),
  );
}

async function recordRows(): Promise<BenchRow[]> {
  const key = new Uint8Array(64).fill(3);
  const [name, context] = [new Uint8Array(24).fill(97), new Uint8Array(32)];
  const seals = new NameSeals(key);
  const sealed = seals.seal(name, context);
  const use = { wrapKey: KEY, nonce: new Uint8Array(12), aad: new Uint8Array(68) };
  const wrapped = wrapKey({ ...use, key: KEY });
  const figures = await interleave({
    'seal name of 24 B': rate(KiB, () => seals.seal(name, context)),
    'open name of 24 B': rate(KiB, () => seals.open(sealed, context)),
    'wrap key': rate(KiB, () => wrapKey({ ...use, key: KEY })),
    'unwrap key': rate(KiB, () => unwrapKey({ ...use, wrapped })),
  });
  return Object.entries(figures).map(([what, value]) =>
    rateRow({ name: what, value: value / KiB, unit: '1/s' }),
  );
}

export const bench: Bench = async () => {
  const rows: BenchRow[] = [];
  for (const bytes of [256, KiB, 2 * KiB, 4 * KiB, 64 * KiB, MiB]) {
    rows.push(...(await digestRows(bytes)));
  }
  for (const bytes of [4 * KiB, 64 * KiB, MiB]) rows.push(...(await sealingRows(bytes)));
  rows.push(...(await recordRows()));
  return rows;
};
