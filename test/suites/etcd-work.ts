/**
 * Work for an etcd that is being hurt: a process that appends all the time and seizes again when it
 * must, and a look at whether all that it was told is true.
 */
import { expect } from 'vitest';
import { errorCode, fromUtf8, utf8 } from '../../src/base/index.ts';
import { realEnv } from '../../src/env/index.ts';
import { type DialEtcd, EtcdConnection, EtcdLog, type Lsn } from '../../src/log/index.ts';
import { MemoryMirror } from './memory-mirror.ts';

const CELL = 'cell-1';

export interface EtcdPatience {
  readonly patienceMs: number;
  readonly deadlineMs: number;
}

/** etcd's own way of things: the defaults. */
export const PATIENT: EtcdPatience = { patienceMs: 4500, deadlineMs: 1500 };

/** Makes processes that share one set of keys. */
export function processesOn(
  prefix: string,
  dials: () => readonly DialEtcd[],
  { patienceMs, deadlineMs }: EtcdPatience = PATIENT,
) {
  const parts = new MemoryMirror();
  const env = realEnv();
  return () => {
    const kv = new EtcdConnection({ members: dials(), clock: env.clock, deadlineMs });
    const metadataKey = new Uint8Array(32).fill(1);
    const place = { kv, prefix, metadataKey, generation: 1, env, patienceMs };
    return { kv, place, log: new EtcdLog({ ...place, parts }) };
  };
}

export interface AppendReport {
  readonly acknowledged: ReadonlyMap<Lsn, string>;
  readonly stallMsMax: number;
  /** One more than how often it lost its epoch. */
  readonly seizureCount: number;
}

/** Appends four at a time until one fails; then it seizes again. */
export async function appendUntil(log: EtcdLog, until: Promise<unknown>): Promise<AppendReport> {
  const acknowledged = new Map<Lsn, string>();
  const { clock } = realEnv();
  let [isOver, epoch, seizureCount] = [false, 0, 0];
  let [stallMsMax, last] = [0, clock.monotonic()];
  void until.then(() => (isOver = true));
  async function append(lsn: Lsn): Promise<boolean> {
    const text = `${lsn}@${epoch}`;
    const outcome = await log.append(CELL, { epoch, lsn }, utf8(text)).catch(errorCode);
    if (outcome !== 'ok') return false;
    acknowledged.set(lsn, text);
    stallMsMax = Math.max(stallMsMax, clock.monotonic() - last);
    last = clock.monotonic();
    return true;
  }
  while (!isOver) {
    const seized = await log.seize(CELL).catch(() => undefined);
    if (!seized) continue;
    epoch = seized.epoch;
    seizureCount += 1;
    for (let lsn = seized.lsn + 1, isMine = true; isMine && !isOver; lsn += 4) {
      const appends = await Promise.all([lsn, lsn + 1, lsn + 2, lsn + 3].map(append));
      isMine = appends.every(Boolean);
    }
  }
  return { acknowledged, stallMsMax, seizureCount };
}

/** All that was acknowledged is there, and nothing is missing before it. */
export async function expectAll(log: EtcdLog, { acknowledged }: AppendReport): Promise<void> {
  const entries = await Array.fromAsync(log.read(CELL, 1));
  expect(entries.map(({ lsn }) => lsn)).toEqual(entries.map((_, index) => index + 1));
  expect(acknowledged.size).toBeGreaterThan(0);
  for (const [lsn, text] of acknowledged) expect(fromUtf8(entries[lsn - 1]!.bytes)).toBe(text);
}
