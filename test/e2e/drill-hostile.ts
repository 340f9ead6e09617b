/**
 * A node's network (test/workers/hostile-target.ts, a process of its own) under attack in rounds.
 * What is checked: each thing that was sent is refused and counted, exactly, and nothing else is;
 * after each kind as many handles are open as before the first; what is held after collection is in
 * the last round what it was in the second one, give or take HELD_SLACK_BYTES; and while it lasts
 * no more is held than the limits of the slow readers add up to.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { LIMITS, mapBounded, MiB } from '../../src/base/index.ts';
import { type NetAddress, parseAddress } from '../../src/net/index.ts';
import {
  BeaconEcho,
  closed,
  forgedRecord,
  HANDSHAKE_BEGINNING,
  OVERSIZED_FRAME,
  rawSocket,
  requests,
  shareOf,
  tlsSocket,
} from '../suites/hostile-peer.ts';
import type { Holdings, Leak } from '../workers/hostile-target.ts';

export interface HostilePlan {
  readonly rounds: number;
  /** Connections of garbage, half-open ones, oversized frames, forged records, beacons: of each. */
  readonly count: number;
  readonly slowReaderCount: number;
  /** Some connections say nothing until the node hangs up: five seconds for each round. */
  readonly isPatient?: boolean;
  readonly leak?: Leak;
  /** How long handles and counters may take to be what they should be. */
  readonly settleMs?: number;
}

const WORKER = fileURLToPath(new URL('../workers/hostile-target.ts', import.meta.url));
const HELD_SLACK_BYTES = 2 * MiB;
const PEAK_SLACK_BYTES = 32 * MiB;
/** Well below what one address may have half open, also when the node lags behind. */
const AT_ONCE = LIMITS.halfOpenPerAddressMax / 2;
const SLOW_AT_ONCE = 2;
const SILENT_COUNT = 10;
const DATAGRAMS_AT_ONCE = 20;
const REFUSALS = /^net_(refused|violations|half_open_refused|beacons_refused|records_refused)/;

type Counts = Record<string, number>;

/** MiB, for people. */
export interface HostileResult {
  readonly held: readonly number[];
  readonly resident: readonly number[];
  readonly peak: number;
  readonly refused: number;
  readonly beacons: string;
}

export async function attackInRounds(plan: HostilePlan): Promise<HostileResult> {
  using echo = await BeaconEcho.open();
  using target = await Target.start(echo, plan);
  const before = await target.look(true);
  const rounds: Holdings[] = [];
  for (let round = 0; round < plan.rounds; round++) {
    for (const [name, attack] of Object.entries(ATTACKS)) await target.suffer(name, attack, before);
    const isLast = round === plan.rounds - 1;
    rounds.push(isLast ? await target.lookForLeast() : await target.look(true));
  }
  const held = rounds.map(heldBytes);
  const [second, last] = [held[1]!, held.at(-1)!];
  assert.ok(last - second < HELD_SLACK_BYTES, `memory grows: ${held.map(toMiB).join(', ')} MiB`);
  const peak = Math.max(...rounds.map(({ peakExternal }) => peakExternal));
  // Of those that were just dropped some may still be held while the next ones come.
  const heldReaders = 2 * SLOW_AT_ONCE;
  const peakMax = heldReaders * 2 * LIMITS.queuedBytesPerConnectionMax + PEAK_SLACK_BYTES;
  assert.ok(peak < peakMax, `at most ${toMiB(peakMax)} MiB are held at once: ${toMiB(peak)}`);
  const { counters } = rounds.at(-1)!;
  assert.ok(counters['net_replies_refused']! > 0, 'replies were refused before the connection');
  return {
    held: held.map(toMiB),
    resident: rounds.map(({ resident }) => toMiB(resident)),
    peak: toMiB(peak),
    refused: Object.values(refusalsOf(counters)).reduce((sum, value) => sum + value, 0),
    beacons: echo.latest ? 'replayed' : 'SKIPPED: no multicast on the loopback interface here',
  };
}

/** The refusals that it should cause. */
type Attack = (target: Target) => Promise<Counts>;

const ATTACKS: Readonly<Record<string, Attack>> = {
  async garbage({ address, plan: { count } }) {
    await each(count, AT_ONCE, async () => {
      const socket = await rawSocket(address);
      socket.write(Buffer.alloc(5000, 0x5a));
      await closed(socket);
    });
    return { 'net_refused{why="handshake"}': count };
  },

  /** Twice as many as may be: one half is refused, the other one gives up half-way. */
  async 'half-open'({ address, plan: { count } }) {
    const waves = Math.ceil(count / (2 * LIMITS.halfOpenPerAddressMax));
    const expected = { net_half_open_refused: 0, 'net_refused{why="handshake"}': 0 };
    for (let wave = 0; wave < waves; wave++) {
      const held = await each(LIMITS.halfOpenPerAddressMax, Infinity, () => rawSocket(address));
      for (const socket of held) socket.write(HANDSHAKE_BEGINNING);
      await each(LIMITS.halfOpenPerAddressMax, Infinity, async () =>
        closed(await rawSocket(address)),
      );
      for (const socket of held) socket.destroy();
      expected['net_half_open_refused'] += LIMITS.halfOpenPerAddressMax;
      // Neither half has finished its handshake.
      expected['net_refused{why="handshake"}'] += 2 * LIMITS.halfOpenPerAddressMax;
    }
    return expected;
  },

  /** Some of strangers who said hello, the others of who said nothing yet. */
  async oversized(target) {
    const { count } = target.plan;
    const hello = requests('stranger', []);
    await each(count, AT_ONCE, async (turn) => {
      const socket = await tlsSocket(target.address, target.freshNumber());
      if (turn % 2 === 0) socket.write(hello);
      socket.write(OVERSIZED_FRAME);
      await closed(socket);
    });
    return { 'net_violations{what="frame"}': count };
  },

  async unread(target) {
    const { slowReaderCount: count } = target.plan;
    const series = 'net_violations{what="unread"}';
    const asked = requests('member', [
      ...Array.from({ length: 80 }, () => ['large', null] as const),
      ...Array.from({ length: 24_000 }, () => ['fail', null] as const),
    ]);
    for (let done = 0; done < count; done += SLOW_AT_ONCE) {
      const some = Math.min(SLOW_AT_ONCE, count - done);
      const sockets = await each(some, some, () => tlsSocket(target.address, target.freshNumber()));
      const goal = (await target.counter(series)) + some;
      for (const socket of sockets) socket.write(asked);
      await target.until(`${series} is ${goal}`, ({ counters }) => counters[series] === goal);
      for (const socket of sockets) socket.destroy();
    }
    return { [series]: count };
  },

  async forged(target) {
    const { count } = target.plan;
    const records = Array.from({ length: count }, () => forgedRecord(target.freshNumber()));
    const series = 'net_records_refused{why="forged"}';
    const goal = (await target.counter(series)) + count;
    const socket = await tlsSocket(target.address, target.freshNumber());
    const { recordsPerMessageMax: some } = LIMITS;
    const shares = Array.from({ length: Math.ceil(count / some) }, (_, page) =>
      shareOf(records.slice(page * some, (page + 1) * some)),
    );
    socket.resume().write(requests('member', shares));
    await target.until(`${series} is ${goal}`, ({ counters }) => counters[series] === goal);
    socket.destroy();
    return { [series]: count };
  },

  /** The node's own beacon comes again and again, as it was and damaged. */
  async beacons(target) {
    const { echo, plan } = target;
    if (!echo.latest) return {};
    const damaged = Buffer.from(echo.latest);
    damaged[500]! ^= 1;
    const replay = 'net_beacons_refused{why="replay"}';
    const noise = 'net_beacons_refused{why="noise"}';
    // A few at a time: a socket whose buffer is full loses datagrams, and nobody counts those.
    for (let sent = 0; sent < plan.count; sent += DATAGRAMS_AT_ONCE) {
      const some = Math.min(DATAGRAMS_AT_ONCE, plan.count - sent);
      const goal = (await target.counter(replay)) + some;
      for (let turn = 0; turn < some; turn++) {
        await echo.say(damaged);
        await echo.say(echo.latest);
      }
      await target.until(`${replay} is ${goal}`, ({ counters }) => counters[replay] === goal);
    }
    return { [replay]: plan.count, [noise]: plan.count };
  },

  /** They begin and say no more; the node hangs up. */
  async silent(target) {
    if (!target.plan.isPatient) return {};
    const raw = await each(SILENT_COUNT, SILENT_COUNT, () => rawSocket(target.address));
    const proven = await each(SILENT_COUNT, SILENT_COUNT, () =>
      tlsSocket(target.address, target.freshNumber()),
    );
    await Promise.all([...raw, ...proven].map(closed));
    return {
      'net_refused{why="handshake"}': SILENT_COUNT,
      'net_refused{why="late"}': SILENT_COUNT,
    };
  },
};

class Target implements Disposable {
  readonly plan: HostilePlan;
  readonly echo: BeaconEcho;
  readonly address: NetAddress;
  readonly #child: ChildProcess;
  readonly #gone = new AbortController();
  /** Numbers of keys that were used; each attacker has one that the node has never seen. */
  #number = 1000;

  private constructor(child: ChildProcess, address: string, echo: BeaconEcho, plan: HostilePlan) {
    this.#child = child;
    this.address = parseAddress(address);
    this.echo = echo;
    this.plan = plan;
    child.once('exit', () => this.#gone.abort());
  }

  static async start(echo: BeaconEcho, plan: HostilePlan): Promise<Target> {
    const args = [String(echo.port), ...(plan.leak ? [plan.leak] : [])];
    const child = fork(WORKER, args, { execArgv: ['--expose-gc'] });
    const [address] = (await once(child, 'message')) as [string];
    const target = new Target(child, address, echo, plan);
    for (let turn = 0; turn < 100 && !echo.latest; turn++) await sleep(10);
    return target;
  }

  freshNumber(): number {
    return this.#number++;
  }

  /** @param isExact collects first, and begins a new peak. Rejects when the process is gone. */
  async look(isExact = false): Promise<Holdings> {
    this.#child.send(isExact);
    const [answer] = await once(this.#child, 'message', { signal: this.#gone.signal });
    return answer as Holdings;
  }

  /** The least of a few looks: buffers that were collected may be freed a little later. */
  async lookForLeast(): Promise<Holdings> {
    let least = await this.look(true);
    const { peakExternal } = least;
    for (let turn = 0; turn < 3; turn++) {
      await sleep(100);
      const next = await this.look(true);
      if (heldBytes(next) < heldBytes(least)) least = next;
    }
    return { ...least, peakExternal };
  }

  async counter(series: string): Promise<number> {
    return (await this.look()).counters[series] ?? 0;
  }

  async until(what: string, isSo: (holdings: Holdings) => boolean): Promise<Holdings> {
    const endMs = performance.now() + (this.plan.settleMs ?? 20_000);
    for (;;) {
      const holdings = await this.look();
      if (isSo(holdings)) return holdings;
      const { handles, counters } = holdings;
      const state = JSON.stringify({ handles: tallyOf(handles), refusals: refusalsOf(counters) });
      assert.ok(performance.now() < endMs, `${what}: in vain; ${state}`);
      await sleep(10);
    }
  }

  /** One kind of attack, until nothing is left of it. */
  async suffer(name: string, attack: Attack, before: Holdings): Promise<void> {
    const counted = refusalsOf((await this.look()).counters);
    const expected = await attack(this);
    const goal = { ...counted };
    for (const [series, rise] of Object.entries(expected)) {
      if (rise > 0) goal[series] = (goal[series] ?? 0) + rise;
    }
    const isCounted = ({ counters }: Holdings): boolean =>
      Object.entries(goal).every(([series, value]) => (counters[series] ?? 0) >= value);
    const { counters } = await this.until(
      `after ${name} all is counted and ${before.handles.length} handles are open`,
      (now) => isCounted(now) && now.handles.length <= before.handles.length,
    );
    assert.deepEqual(refusalsOf(counters), goal, `what ${name} is counted as`);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

async function each<Result>(
  count: number,
  atOnce: number,
  work: (turn: number) => Promise<Result>,
): Promise<Result[]> {
  const turns = Array.from({ length: count }, (_, turn) => turn);
  return await mapBounded(turns, Math.min(atOnce, count), work);
}

function refusalsOf(counters: Readonly<Counts>): Counts {
  return Object.fromEntries(Object.entries(counters).filter(([series]) => REFUSALS.test(series)));
}

function tallyOf(kinds: readonly string[]): Counts {
  const tally: Counts = {};
  for (const kind of kinds) tally[kind] = (tally[kind] ?? 0) + 1;
  return tally;
}

function heldBytes({ heap, external }: Holdings): number {
  return heap + external;
}

function toMiB(bytes: number): number {
  return Math.round((10 * bytes) / MiB) / 10;
}
