/**
 * The other process of bench/mux.ts: answers the same work over our network, node:tls and
 * node:http2, with the same certificate. Tells its ports over IPC, and its largest resident size
 * since the last question when asked.
 */
import { createSecureServer } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { createServer as createTlsServer } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { NodeKey } from '../src/crypto/index.ts';
import { realEnv } from '../src/env/index.ts';
import { formatAddress } from '../src/net/index.ts';
import { openBenchNetwork, tlsOptions } from './mux-parts.ts';

const MB = 1e6;

const key = new NodeKey(new Uint8Array(32).fill(2));
let peakBytes = 0;

/** At full speed, or with a rest after each MB. */
async function countBytes(source: Readable, pauseMsPerMb: number): Promise<number> {
  let bytes = 0;
  if (pauseMsPerMb === 0) {
    source.on('data', (chunk: Buffer) => (bytes += chunk.length));
    await finished(source, { writable: false });
    return bytes;
  }
  let paused = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes - paused < MB) continue;
    paused = bytes;
    await sleep(pauseMsPerMb);
  }
  return bytes;
}

/** Answers with one byte whenever `total` bytes have come. */
function serveTls(): Promise<number> {
  const server = createTlsServer(tlsOptions(key), (socket) => {
    socket.on('error', () => {});
    let total: number | undefined;
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      total ??= chunk.readDoubleLE(0);
      bytes += chunk.length;
      if (bytes < total) return;
      bytes = 0;
      socket.write('.');
    });
  });
  return listening(server);
}

function serveHttp2(): Promise<number> {
  const server = createSecureServer(tlsOptions(key));
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    if (headers[':path'] === '/upload') {
      void countBytes(stream, 0).then((bytes) => {
        stream.respond({ ':status': 200 });
        stream.end(String(bytes));
      });
      return;
    }
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => {
      stream.respond({ ':status': 200 });
      stream.end(Buffer.concat(parts));
    });
  });
  return listening(server);
}

function listening(server: ReturnType<typeof createTcpServer>): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

const network = await openBenchNetwork(realEnv(), key);
network.handle('echo', {}, (arg) => arg);
network.handle<number>('upload', {}, (pause, { stream }) => countBytes(stream!, pause));
setInterval(() => (peakBytes = Math.max(peakBytes, process.memoryUsage.rss())), 20).unref();
process.on('message', () => {
  process.send!({ peakBytes });
  peakBytes = 0;
});
process.send!({
  address: formatAddress(network.addresses[0]!),
  tlsPort: await serveTls(),
  http2Port: await serveHttp2(),
});
