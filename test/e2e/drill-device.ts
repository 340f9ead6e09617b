/**
 * The drill about sudden ends on a real disk: a process that writes to a store on a loop device is
 * killed at random moments, round after round on the same device. What it said was acknowledged
 * holds; what was under way happened or did not.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { bytesEqual, type ClusterId, type DeviceId, toHex } from '../../src/base/index.ts';
import { makeDevice, openDevice } from '../../src/device/index.ts';
import { type Env, realEnv, silentLog } from '../../src/env/index.ts';
import { checkStore, type ExtentStore, formatStore, openStore } from '../../src/store/index.ts';
import { attachLoop } from '../suites/loop-device.ts';
import { numberedChunk } from '../suites/numbered-chunk.ts';
import { below, seededRandom } from './content.ts';
import type { Bed } from './harness.ts';

const WRITER = fileURLToPath(new URL('./device-writer.ts', import.meta.url));
const UP_TIMEOUT_MS = 60_000;
const SAMPLE_MS = 5;
/** A program and a mount take about so long. */
const START_MS = 400;

export interface DeviceKillPlan {
  readonly seed: number;
  readonly rounds: number;
  readonly sizeBytes: number;
  /** After the store was mounted; now and then the kill comes before. */
  readonly lifeMsMax: number;
}

export interface DeviceKills {
  readonly acknowledgedPuts: number;
  readonly acknowledgedRemoves: number;
  /** Puts that were refused since the device was full. */
  readonly refused: number;
  readonly killsBeforeMounted: number;
  /** Operations under way at a kill that had happened, and those that had not. */
  readonly happened: number;
  readonly undone: number;
}

type State = 'there' | 'gone' | 'putting' | 'removing';

/** What a line of the writer says of a chunk. */
const SAID: Readonly<Record<string, State>> = {
  'put?': 'putting',
  put: 'there',
  full: 'gone',
  'remove?': 'removing',
  remove: 'gone',
};

/** Kills a writer again and again. @returns what came of it. */
export async function killDeviceWriter(bed: Bed, plan: DeviceKillPlan): Promise<DeviceKills> {
  await using loop = await attachLoop({ sizeBytes: plan.sizeBytes });
  const env = { ...realEnv(), log: silentLog };
  const uuid = '5'.repeat(32) as DeviceId;
  const device = await makeDevice({ env, path: loop.path, uuid });
  await using closing = new AsyncDisposableStack();
  closing.use(device);
  await formatStore({ env, device, id: uuid, clusterId: 'c'.repeat(32) as ClusterId });
  await closing.disposeAsync();
  return await new Drill({ bed, env, plan, path: loop.path }).run();
}

class Drill {
  readonly #bed: Bed;
  readonly #env: Env;
  readonly #plan: DeviceKillPlan;
  readonly #path: string;
  readonly #random: () => number;
  /** By number of the chunk. */
  readonly #states = new Map<number, State>();
  readonly #counts = {
    acknowledgedPuts: 0,
    acknowledgedRemoves: 0,
    refused: 0,
    killsBeforeMounted: 0,
    happened: 0,
    undone: 0,
  };

  constructor(parts: { bed: Bed; env: Env; plan: DeviceKillPlan; path: string }) {
    this.#bed = parts.bed;
    this.#env = parts.env;
    this.#plan = parts.plan;
    this.#path = parts.path;
    this.#random = seededRandom(parts.plan.seed);
  }

  async run(): Promise<DeviceKills> {
    for (let round = 0; round < this.#plan.rounds; round += 1) {
      const said = await this.#writeUntilKilled(round);
      if (!said.includes('up')) this.#counts.killsBeforeMounted += 1;
      for (const line of said) this.#note(line);
      await this.#check();
    }
    assert.ok(this.#counts.acknowledgedPuts > this.#plan.rounds, 'something was acknowledged');
    return this.#counts;
  }

  /** @returns the lines that the writer has said. */
  async #writeUntilKilled(round: number): Promise<string[]> {
    const file = path.join(this.#bed.folder, `said-${round}`);
    await using output = await fs.open(file, 'w');
    // A writer gets to far fewer.
    const first = 1_000_000 * (round + 1);
    const live = this.#numbersIn('there');
    const child = spawn(
      process.execPath,
      [WRITER, this.#path, `${this.#plan.seed + round}`, `${first}`, ...live.map(String)],
      { stdio: ['ignore', output.fd, 'pipe'] },
    );
    const errors: Buffer[] = [];
    child.stderr?.on('data', (piece: Buffer) => errors.push(piece));
    const exit = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    // Now and then the kill comes while the program starts or the store is being mounted.
    const isEarly = round % 5 === 4;
    if (!isEarly) await whenSaid(file, child);
    await sleep(below(this.#random, isEarly ? START_MS : this.#plan.lifeMsMax));
    child.kill('SIGKILL');
    const [, signal] = await exit;
    assert.equal(
      signal,
      'SIGKILL',
      `the writer ended by itself: ${Buffer.concat(errors).toString()}`,
    );
    const said = await fs.readFile(file, 'utf8');
    // What follows the last line break was not said to the end.
    return said.split('\n').slice(0, -1);
  }

  #note(line: string): void {
    const [what, number] = line.split(' ');
    const state = what === undefined ? undefined : SAID[what];
    if (state) this.#states.set(Number(number), state);
    if (what === 'put') this.#counts.acknowledgedPuts += 1;
    if (what === 'remove') this.#counts.acknowledgedRemoves += 1;
    if (what === 'full') this.#counts.refused += 1;
  }

  #numbersIn(state: State): number[] {
    return [...this.#states].filter(([, each]) => each === state).map(([number]) => number);
  }

  async #check(): Promise<void> {
    const env = this.#env;
    await this.#checkAtRest();
    const device = await openDevice({ env, path: this.#path });
    await using store = await openStore({ env, device });
    const { damage, damagedAtMs } = await store.describe();
    assert.deepEqual(damage, []);
    assert.equal(damagedAtMs, 0);
    const ids = new Set<string>();
    for await (const { id } of store.list()) ids.add(toHex(id));
    for (const [number, state] of this.#states) {
      const isThere = await this.#checkChunk(store, number, state);
      if (isThere) ids.delete(toHex(numberedChunk(number).id));
      if (state === 'putting' || state === 'removing') {
        this.#counts[isThere === (state === 'putting') ? 'happened' : 'undone'] += 1;
      }
      if (isThere) this.#states.set(number, 'there');
      else this.#states.delete(number);
    }
    assert.equal(ids.size, 0, 'nothing is listed that was not put, or that was removed once');
  }

  /** What the kill left, before a mount mends it. Of chunks `check` speaks with more knowledge. */
  async #checkAtRest(): Promise<void> {
    const env = this.#env;
    await using device = await openDevice({ env, path: this.#path });
    const { findings } = await checkStore({ env, device });
    const lost = findings.filter(({ isMended, where }) => !isMended && where !== 'chunk');
    assert.deepEqual(lost, []);
  }

  /** @returns whether the chunk is there. */
  async #checkChunk(store: ExtentStore, number: number, state: State): Promise<boolean> {
    const { id, bytes } = numberedChunk(number);
    const entry = await store.stat(id);
    if (state === 'gone') assert.equal(entry, undefined, `chunk ${number} is back`);
    if (state === 'there') assert.ok(entry, `chunk ${number} is gone`);
    if (!entry) return false;
    if (!entry.isGood && state === 'putting') {
      // Its record was whole and its bytes were not: nobody was told that it is there.
      await store.remove(id, { generationMax: 1 });
      return false;
    }
    const read = await store.get(id);
    assert.ok(read && bytesEqual(read, bytes), `chunk ${number} has its own bytes`);
    return true;
  }
}

/** Resolves when the writer has said something, or has ended. */
async function whenSaid(file: string, child: ChildProcess): Promise<void> {
  const untilMs = performance.now() + UP_TIMEOUT_MS;
  const isSilent = async (): Promise<boolean> => (await fs.stat(file)).size === 0;
  while (child.exitCode === null && (await isSilent()) && performance.now() < untilMs) {
    await sleep(SAMPLE_MS);
  }
}
