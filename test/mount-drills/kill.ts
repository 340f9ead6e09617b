/**
 * The node that serves the mount is killed while programs write, again and again. Each of them gets
 * an error within a second; a moment later the directory is empty and usable; when the node is
 * back, and has mounted again by itself, all that fsync has answered for is there, and nothing that
 * nobody wrote. In a cluster another node shows all that before the killed one is back.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { below, seededRandom } from '../e2e/content.ts';
import { until } from '../e2e/harness.ts';
import { need, ok } from './commands.ts';
import type { Drill } from './drill.ts';
import { isMountPoint, type Point } from './ground.ts';

const PROGRAM = fileURLToPath(new URL('writers.py', import.meta.url));
const KINDS = ['append', 'files', 'replace', 'names'] as const;
const ROUNDS = 10;
const LIFE_MS_MAX = 5000;
const ERROR_MS_MAX = 1000;
/** A call goes on for so long at most; then it has failed. */
const CALL_MS_MAX = 70_000;

export async function killUnderWriters(drill: Drill): Promise<object> {
  need('python3');
  const { mounts, seed, size = ROUNDS, say } = drill;
  const random = seededRandom(seed);
  const [first, second] = mounts.points as [Point, Point];
  let promises = 0;
  let slowestMs = 0;
  for (let round = 0; round < size; round += 1) {
    const writers = KINDS.map((kind) => new Writer(first.directory, kind, `${kind}-${round}`));
    await until('all have written', () => writers.every((writer) => writer.count > 0));
    await sleep(below(random, LIFE_MS_MAX));
    for (const writer of writers)
      assert.equal(writer.error, undefined, `${writer.name}: no error yet`);
    const killedMs = performance.now();
    const killed = mounts.ground.kill(first.node);
    for (const writer of writers) await writer.ended;
    slowestMs = Math.max(slowestMs, performance.now() - killedMs);
    const errors = writers.map(({ name, error }) => `${name}: ${error}`).join(', ');
    say(`round ${round}: ${errors} after ${Math.round(performance.now() - killedMs)} ms`);
    assert.ok(performance.now() - killedMs < ERROR_MS_MAX, 'callers get their errors at once');
    for (const { name, error } of writers) assert.ok(error, `${name} gets an error`);
    await killed;
    await until('nothing is mounted', () => !isMountPoint(first.directory));
    assert.deepEqual(await fs.readdir(first.directory), []);
    if (second.node !== first.node) for (const writer of writers) await writer.check(second);
    await mounts.ground.restart(first.node);
    await mounts.untilMountedAgain(first.node);
    for (const point of mounts.points) for (const writer of writers) await writer.check(point);
    promises += writers.reduce((sum, { count }) => sum + count, 0);
  }
  return { rounds: size, promises, slowestErrorMs: Math.round(slowestMs) };
}

class Writer {
  readonly name: string;
  readonly ended: Promise<unknown>;
  readonly #kind: string;
  readonly #child: ChildProcess;
  #said = '';

  constructor(directory: string, kind: string, name: string) {
    this.name = name;
    this.#kind = kind;
    const words = [PROGRAM, 'write', directory, kind, name, '0'];
    this.#child = spawn('python3', words, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child.stdout!.on('data', (text: Buffer) => (this.#said += text.toString()));
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), LIFE_MS_MAX + CALL_MS_MAX);
    this.ended = once(this.#child, 'close').finally(() => clearTimeout(timer));
  }

  /** How many promises it has been given. */
  get count(): number {
    return this.#lines.filter((line) => /^\d+$/.test(line)).length;
  }

  get error(): string | undefined {
    return this.#lines.find((line) => line.startsWith('error '))?.slice('error '.length);
  }

  get #lines(): string[] {
    return this.#said.split('\n').slice(0, -1);
  }

  /** @throws unless all that was promised holds. */
  async check({ node, directory }: Point): Promise<void> {
    const words = [PROGRAM, 'check', directory, this.#kind, this.name, String(this.count)];
    await ok('python3', words, { msMax: CALL_MS_MAX }).catch((error: unknown) => {
      throw new Error(`${this.name}, seen on ${node}: ${String(error)}`, { cause: error });
    });
  }
}
