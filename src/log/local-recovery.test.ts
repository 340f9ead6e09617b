/**
 * Aim: over many runs of the process, on stores that go and come back, with puts that fail at every
 * point, the engine `local` never loses, moves or invents a final entry, and never cries loss
 * without one. Method: seeded random histories; at most one store is away at a time, and each
 * acknowledged record has two copies, so nothing acknowledged may ever be out of sight. Each
 * seizure's view is final and is held against all later ones.
 */
import { describe, expect, it } from 'vitest';
import { MemoryMirror, type PutFault } from '../../test/suites/memory-mirror.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { type ErrorCode, errorCode, fromUtf8, utf8 } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { type LogHead, LocalLog, type Mirror } from './index.ts';

const CELL = 'cell-1';
const STORE_COUNT = 4;

/** A mirror as one process sees it: what is under way in a crash may arrive, but has no answer. */
function asSeenBy(mirror: MemoryMirror, process: { hasCrashed: boolean }): Mirror {
  return {
    async put(bytes) {
      const ref = process.hasCrashed ? undefined : await mirror.put(bytes);
      return ref && !process.hasCrashed ? ref : await new Promise(() => {});
    },
    get: (ref) => mirror.get(ref),
    remove: async (refs) => (process.hasCrashed ? undefined : await mirror.remove(refs)),
    list: () => mirror.list(),
  };
}

/** The code of an operating error; a bug of ours is thrown. */
function codeOf(error: unknown): ErrorCode {
  const code = errorCode(error);
  if (!code) throw error;
  return code;
}

class History {
  readonly #mirror = new MemoryMirror({ storeCount: STORE_COUNT, copyCount: 2 });
  readonly #env: Env;
  /** What entry each number has for ever; the first is at 1. */
  readonly #final: string[] = [''];
  #snapshotLsn = 0;
  #seizureCount = 0;
  /** Puts under way in a crash often reach one store. */
  #isDying = false;

  constructor(seed: number) {
    this.#env = virtualEnv(seed);
    const { clock, random } = this.#env;
    this.#mirror.delay = () => clock.sleep(random.below(5));
    this.#mirror.nextFault = () => {
      const faults: PutFault[] = ['none', 'one', 'one', 'all'];
      if (this.#isDying && this.#happens(30)) return 'one';
      return random.below(100) < 15 ? faults[random.below(faults.length)] : undefined;
    };
  }

  #happens(percent: number): boolean {
    return this.#env.random.below(100) < percent;
  }

  #moveStores(): void {
    this.#mirror.away.clear();
    if (this.#happens(70)) this.#mirror.away.add(this.#env.random.below(STORE_COUNT));
  }

  /** One life of the process. */
  async run(): Promise<void> {
    const process = { hasCrashed: false };
    this.#moveStores();
    const mirror = asSeenBy(this.#mirror, process);
    const metadataKey = new Uint8Array(32);
    const log = await LocalLog.open({ mirror, metadataKey, generation: 1, env: this.#env });
    const loaded = await log.loadSnapshot(CELL);
    expect(loaded?.lsn ?? 0).toBeGreaterThanOrEqual(this.#snapshotLsn);
    if (this.#happens(30)) await log.trim(CELL, loaded?.lsn ?? 0);
    for (let round = this.#env.random.below(4); round > 0; round--) {
      const seized = await log.seize(CELL).catch(codeOf);
      if (typeof seized !== 'object') continue;
      this.#seizureCount += 1;
      await this.#checkAll(log, await log.head(CELL));
      const last = await this.#append(log, seized);
      if (this.#happens(30)) this.#moveStores();
      if (this.#happens(30)) await this.#saveSnapshot(log, { epoch: seized.epoch, lsn: last });
    }
    if (this.#happens(50)) {
      const { epoch, lsn } = await log.head(CELL);
      this.#isDying = true;
      void log.append(CELL, { epoch, lsn: lsn + 1 }, utf8('under way')).catch(codeOf);
      void this.#saveSnapshot(log, { epoch, lsn }).catch(codeOf);
      await this.#env.clock.sleep(this.#env.random.below(20));
      this.#isDying = false;
    }
    process.hasCrashed = true;
  }

  async #append(log: LocalLog, seized: { epoch: number; lsn: number }): Promise<number> {
    const count = this.#env.random.below(5);
    const appends = Array.from({ length: count }, async (_, index) => {
      const position = { epoch: seized.epoch, lsn: seized.lsn + 1 + index };
      const text = `${position.lsn} of seizure ${this.#seizureCount}`;
      const outcome = await log.append(CELL, position, utf8(text)).catch(codeOf);
      if (outcome === 'ok') this.#final[position.lsn] = text;
      return outcome === 'ok';
    });
    const outcomes = await Promise.all(appends);
    const okCount = outcomes.filter(Boolean).length;
    expect(outcomes.slice(0, okCount).every(Boolean)).toBe(true);
    return seized.lsn + okCount;
  }

  async #saveSnapshot(log: LocalLog, position: { epoch: number; lsn: number }): Promise<void> {
    const { lsn } = position;
    if (lsn === 0) return;
    const text = `after ${this.#final[lsn]}`;
    async function* parts(): AsyncGenerator<Uint8Array> {
      yield utf8(text.slice(0, 5));
      yield utf8(text.slice(5));
    }
    const outcome = await log.saveSnapshot(CELL, position, parts()).catch(codeOf);
    if (outcome === undefined) this.#snapshotLsn = Math.max(this.#snapshotLsn, lsn);
    await log.trim(CELL, this.#env.random.below(2 * lsn));
  }

  /** After a seizure: what is final is there, and what is there is final. */
  async #checkAll(log: LocalLog, { trimmed, lsn }: LogHead): Promise<void> {
    expect(trimmed).toBeLessThanOrEqual(lsn);
    const entries = await Array.fromAsync(log.read(CELL, trimmed + 1));
    const texts = entries.map(({ bytes }) => fromUtf8(bytes));
    const known = this.#final.slice(trimmed + 1);
    expect(texts).toHaveLength(lsn - trimmed);
    expect(texts.slice(0, known.length)).toEqual(known);
    for (const [index, text] of texts.entries()) this.#final[trimmed + 1 + index] = text;
    const snapshot = await log.loadSnapshot(CELL);
    expect(snapshot?.lsn ?? 0).toBeGreaterThanOrEqual(trimmed);
    if (!snapshot) return;
    const state = await Array.fromAsync(snapshot.parts, fromUtf8);
    expect(state.join('')).toBe(`after ${this.#final[snapshot.lsn]}`);
  }
}

describe('LocalLog over many lives', () => {
  it('keeps every final entry, whatever fails', async () => {
    for (let seed = 1; seed <= 80; seed++) {
      const history = new History(seed);
      for (let life = 1; life <= 12; life++) {
        try {
          await history.run();
        } catch (error) {
          throw new Error(`seed ${seed}, life ${life}`, { cause: error });
        }
      }
    }
  });
});
