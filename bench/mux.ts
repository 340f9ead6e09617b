/**
 * The network between two processes on loopback, beside node:tls (bulk) and node:http2 (bulk, small
 * calls, calls during an upload) with the same certificates and cipher; then 5 GB into a reader
 * that rests 1 ms after each MB, with the largest resident size of both ends.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import type { Writable } from 'node:stream';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { KiB } from '../src/base/index.ts';
import type { NodeId } from '../src/base/index.ts';
import { NodeKey } from '../src/crypto/index.ts';
import { realEnv } from '../src/env/index.ts';
import { type Network, parseAddress } from '../src/net/index.ts';
import { type Bench, type BenchRow, interleave, median, rateRow, timeRow } from './harness.ts';
import { type BenchPorts, openBenchNetwork, tlsOptions } from './mux-parts.ts';

const MB = 1e6;
const BULK_BYTES = 2000 * 256 * KiB;
const SLOW_BYTES = 5e9;
const PIECE = new Uint8Array(256 * KiB).fill(7);
const RPC_MS = 700;
const DEADLINE_MS = 60_000;
const ARGUMENT = { id: 'c'.repeat(32), offset: 123_456, bytes: 65_536, tag: 'x'.repeat(40) };

interface Ends {
  readonly network: Network;
  readonly remote: NodeId;
  readonly tls: TLSSocket;
  readonly http2: ClientHttp2Session;
}

/** Pieces of `bytes` in all, at the pace of the taker. */
async function pour(target: Writable, bytes: number, piece: () => Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes;) {
    const part = piece().subarray(0, Math.min(PIECE.length, bytes - sent));
    sent += part.length;
    if (!target.write(part)) await once(target, 'drain');
  }
}

async function uploadOurs({ network, remote }: Ends, bytes = BULK_BYTES): Promise<void> {
  const opened = await network.open<number>(remote, 'upload', 0, { deadlineMs: DEADLINE_MS });
  await pour(opened.stream, bytes, () => PIECE);
  opened.stream.end();
  if ((await opened.reply) !== bytes) throw new Error('bytes were lost');
}

async function uploadTls({ tls }: Ends): Promise<void> {
  const first = new Uint8Array(PIECE);
  Buffer.from(first.buffer).writeDoubleLE(BULK_BYTES, 0);
  const answer = once(tls, 'data');
  let isFirst = true;
  await pour(tls, BULK_BYTES, () => {
    const piece = isFirst ? first : PIECE;
    isFirst = false;
    return piece;
  });
  await answer;
}

async function uploadHttp2({ http2 }: Ends, bytes = BULK_BYTES): Promise<void> {
  const request = http2.request({ ':path': '/upload', ':method': 'POST' });
  await pour(request, bytes, () => PIECE);
  request.end();
  request.resume();
  await once(request, 'end');
}

function callOurs({ network, remote }: Ends): Promise<unknown> {
  return network.call(remote, 'echo', ARGUMENT, { deadlineMs: DEADLINE_MS });
}

function callHttp2({ http2 }: Ends): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const request = http2.request({ ':path': '/echo', ':method': 'POST' });
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => resolve(JSON.parse(Buffer.concat(parts).toString())));
    request.on('error', reject);
    request.end(JSON.stringify(ARGUMENT));
  });
}

async function megabytesPerSecond(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return BULK_BYTES / MB / ((performance.now() - start) / 1000);
}

async function callsPerSecond(call: () => Promise<unknown>, inFlight: number): Promise<number> {
  const start = performance.now();
  let count = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() - start < RPC_MS) {
      await call();
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
  return (count * 1000) / (performance.now() - start);
}

/** The median (0.5) or a higher part of call times in ms, with four in flight, during an upload. */
async function latencyDuring(
  upload: () => Promise<void>,
  call: () => Promise<unknown>,
): Promise<{ p50: number; p99: number }> {
  const times: number[] = [];
  let isOver = false;
  const uploading = upload().finally(() => (isOver = true));
  const caller = async (): Promise<void> => {
    while (!isOver) {
      const start = performance.now();
      await call();
      times.push(performance.now() - start);
    }
  };
  await Promise.all([uploading, ...Array.from({ length: 4 }, caller)]);
  const sorted = times.toSorted((a, b) => a - b);
  return { p50: median(times), p99: sorted[Math.floor(sorted.length * 0.99)]! };
}

async function bulkRows(ends: Ends): Promise<BenchRow[]> {
  const figures = await interleave({
    ours: () => megabytesPerSecond(() => uploadOurs(ends)),
    tls: () => megabytesPerSecond(() => uploadTls(ends)),
    http2: () => megabytesPerSecond(() => uploadHttp2(ends)),
  });
  const row = { name: 'bulk to one node', value: figures.ours, unit: 'MB/s' };
  return [
    rateRow({ ...row, peer: 'node:tls', peerValue: figures.tls }),
    rateRow({ ...row, peer: 'node:http2', peerValue: figures.http2 }),
  ];
}

async function callRows(ends: Ends, inFlight: number): Promise<BenchRow> {
  const figures = await interleave({
    ours: () => callsPerSecond(() => callOurs(ends), inFlight),
    http2: () => callsPerSecond(() => callHttp2(ends), inFlight),
  });
  const name = `calls of 120 B, ${inFlight} in flight`;
  const peer = { peer: 'node:http2', peerValue: figures.http2 };
  return rateRow({ name, value: figures.ours, unit: '1/s', ...peer });
}

async function latencyRows(ends: Ends): Promise<BenchRow[]> {
  const ours = await latencyDuring(
    () => uploadOurs(ends),
    () => callOurs(ends),
  );
  const http2 = await latencyDuring(
    () => uploadHttp2(ends),
    () => callHttp2(ends),
  );
  return (['p50', 'p99'] as const).map((part) =>
    timeRow({
      name: `call during an upload, ${part}`,
      value: ours[part],
      unit: 'ms',
      peer: 'node:http2',
      peerValue: http2[part],
    }),
  );
}

async function slowReaderRows(
  { network, remote }: Ends,
  peakOfPeer: () => Promise<number>,
): Promise<BenchRow[]> {
  await peakOfPeer();
  let peakBytes = 0;
  const sampling = setInterval(() => {
    peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
  }, 20);
  const start = performance.now();
  const opened = await network.open<number>(remote, 'upload', 1, { deadlineMs: DEADLINE_MS });
  // A fresh piece each time: what the sender holds on to is seen.
  await pour(opened.stream, SLOW_BYTES, () => new Uint8Array(PIECE));
  opened.stream.end();
  if ((await opened.reply) !== SLOW_BYTES) throw new Error('bytes were lost');
  const seconds = (performance.now() - start) / 1000;
  clearInterval(sampling);
  const mebi = KiB * KiB;
  const peerBytes = await peakOfPeer();
  return [
    { name: '5 GB into a slow reader', value: SLOW_BYTES / MB / seconds, unit: 'MB/s' },
    { name: 'its sender, resident at most', value: peakBytes / mebi, unit: 'MiB' },
    { name: 'its reader, resident at most', value: peerBytes / mebi, unit: 'MiB' },
  ];
}

export const bench: Bench = async () => {
  const child = fork(fileURLToPath(new URL('./mux-peer.ts', import.meta.url)));
  const key = new NodeKey(new Uint8Array(32).fill(1));
  const [ports] = (await once(child, 'message')) as [BenchPorts];
  await using network = await openBenchNetwork(realEnv(), key);
  const remote = (await network.connect(parseAddress(ports.address))).node;
  const options: ConnectionOptions = { ...tlsOptions(key), checkServerIdentity: () => undefined };
  const tls = connectTls(ports.tlsPort, '127.0.0.1', options);
  await once(tls, 'secureConnect');
  const http2 = connectHttp2(`https://127.0.0.1:${ports.http2Port}`, options);
  const ends = { network, remote, tls, http2 };
  const peakOfPeer = async (): Promise<number> => {
    child.send('peak');
    const [{ peakBytes }] = (await once(child, 'message')) as [{ peakBytes: number }];
    return peakBytes;
  };
  try {
    return [
      ...(await slowReaderRows(ends, peakOfPeer)),
      ...(await bulkRows(ends)),
      await callRows(ends, 1),
      await callRows(ends, 64),
      ...(await latencyRows(ends)),
    ];
  } finally {
    http2.destroy();
    tls.destroy();
    child.kill();
  }
};
