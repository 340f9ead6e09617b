/**
 * A large stream into a slow reader, between two processes: neither holds much of it. The reader is
 * test/workers/wire-reader.ts; both sample what they have resident.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { KiB, MiB } from '../../src/base/index.ts';
import { realEnv } from '../../src/env/index.ts';
import { parseAddress } from '../../src/net/index.ts';
import { openTlsNode } from './net-bed.ts';

export interface WireStreamPlan {
  readonly sizeBytes: number;
  /** The reader rests so long after each MB. */
  readonly pauseMsPerMb: number;
  readonly residentBytesMax: number;
}

/** The largest resident sets, in MiB. */
export interface WirePeaks {
  readonly sender: number;
  readonly reader: number;
}

const READER = fileURLToPath(new URL('../workers/wire-reader.ts', import.meta.url));

export async function streamToSlowReader(plan: WireStreamPlan): Promise<WirePeaks> {
  const { sizeBytes, pauseMsPerMb, residentBytesMax } = plan;
  const child = fork(READER);
  let peakBytes = 0;
  const look = (): void => void (peakBytes = Math.max(peakBytes, process.memoryUsage.rss()));
  const sampling = setInterval(look, 20);
  try {
    const [address] = (await once(child, 'message')) as [string];
    await using network = await openTlsNode(1, { env: realEnv() });
    const { node } = await network.connect(parseAddress(address));
    const opened = await network.open<number[]>(node, 'take', pauseMsPerMb, {
      deadlineMs: 60_000,
    });
    for (let sent = 0; sent < sizeBytes;) {
      // A fresh piece each time: what the network holds on to is seen.
      const piece = Buffer.alloc(Math.min(256 * KiB, sizeBytes - sent), 7);
      sent += piece.length;
      if (!opened.stream.write(piece)) await once(opened.stream, 'drain');
    }
    opened.stream.resume().end();
    const [bytes, readerBytes] = await opened.reply;
    assert.equal(bytes, sizeBytes);
    const peaks = { sender: peakBytes, reader: readerBytes! };
    for (const [end, resident] of Object.entries(peaks)) {
      assert.ok(resident > 0, `the ${end} was looked at`);
      assert.ok(resident < residentBytesMax, `the ${end}: ${toMiB(resident)} MiB resident`);
    }
    return { sender: toMiB(peakBytes), reader: toMiB(readerBytes!) };
  } finally {
    clearInterval(sampling);
    child.kill('SIGKILL');
  }
}

function toMiB(bytes: number): number {
  return Math.round(bytes / MiB);
}
