/**
 * The disk lists of the nodes: this one tells its own to every member it is connected with, and
 * keeps what they tell. A member is told what it has not heard: at the start, when the list has
 * changed, when the member is new or has started again, and every ten minutes.
 *
 * A list ends when it was not renewed for 25 minutes, and is not shown while its node is not alive.
 * Strangers learn nothing: neither method is for them.
 */
import * as v from 'valibot';
import { errorCode, LIMITS, mapBounded, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { MemberView, Network } from '../../net/index.ts';
import { isThere, membersById } from '../member-views.ts';
import { type DiskEntry, DiskList, listBytes } from './disk-list.ts';

const TELL_METHOD = 'disks/tell';
const ASK_METHOD = 'disks/ask';

const FIRST_LOOK_MS = 5000;
const LOOK_EVERY_MS = 10_000;
const RENEW_EVERY_MS = 10 * 60_000;
const LIST_LIFE_MS = 25 * 60_000;
/** Members who ask are answered from a look that is no older. */
const LOOK_LIFE_MS = 1000;
const CALL_MS = 3000;
const CALLS_AT_ONCE = 16;
/** For asking all members. */
const ASK_ALL_MS = 15_000;

export interface DiskNewsOptions {
  readonly env: Env;
  readonly network: Pick<Network, 'self' | 'handle' | 'call' | 'links' | 'members'>;
  /** What this node tells of its machine, as of the call. */
  readonly look: () => Promise<readonly DiskEntry[]>;
}

interface Heard {
  readonly list: readonly DiskEntry[];
  readonly bytes: number;
  readonly atMs: number;
}

interface Told {
  /** The list as JSON. */
  readonly text: string;
  /** Of the member: one that has started again has forgotten. */
  readonly incarnation: number;
  readonly atMs: number;
}

export class DiskNews implements AsyncDisposable {
  readonly #options: DiskNewsOptions;
  readonly #heard = new Map<NodeId, Heard>();
  readonly #told = new Map<NodeId, Told>();
  readonly #closing = new AbortController();
  readonly #loop: Promise<void>;
  #look: { readonly atMs: number; readonly list: Promise<readonly DiskEntry[]> } | undefined;

  /** Registers its methods, and begins. */
  constructor(options: DiskNewsOptions) {
    this.#options = options;
    const { network } = options;
    network.handle<v.InferOutput<typeof DiskList>>(
      TELL_METHOD,
      { schema: DiskList },
      (list, { from }) => {
        this.#hear(from, list);
        return null;
      },
    );
    network.handle(ASK_METHOD, {}, async () => await this.#lookSoon());
    this.#loop = this.#run();
  }

  /** What is known of the members that are alive. */
  heard(): ReadonlyMap<NodeId, readonly DiskEntry[]> {
    this.#forget();
    const alive = this.#options.network.members().filter(isThere);
    return new Map(alive.map(({ node }) => [node, this.#heard.get(node)?.list ?? []]));
  }

  /** Asks all members that are alive. @returns how many did not answer. */
  async ask({ signal }: { readonly signal: AbortSignal }): Promise<number> {
    const { network, env } = this.#options;
    const untilMs = env.clock.monotonic() + ASK_ALL_MS;
    const alive = network.members().filter(isThere);
    const answers = await mapBounded(alive, CALLS_AT_ONCE, async ({ node }) => {
      const deadlineMs = Math.min(CALL_MS, untilMs - env.clock.monotonic());
      if (deadlineMs < 1 || signal.aborted) return false;
      return await this.#try(async () => {
        const answer = await network.call(node, ASK_METHOD, null, { deadlineMs, signal });
        const { success, output } = v.safeParse(DiskList, answer);
        if (success) this.#hear(node, output);
        return success;
      });
    });
    return answers.filter((hasAnswered) => !hasAnswered).length;
  }

  #hear(node: NodeId, list: readonly DiskEntry[]): void {
    this.#heard.delete(node); // so that it comes last, as the one heard last
    const atMs = this.#options.env.clock.monotonic();
    this.#heard.set(node, { list, bytes: listBytes(list), atMs });
    let sum = [...this.#heard.values()].reduce((total, { bytes }) => total + bytes, 0);
    for (const [oldest, { bytes }] of this.#heard) {
      if (sum <= LIMITS.diskListsBytesMax) break;
      this.#heard.delete(oldest);
      sum -= bytes;
    }
  }

  /**
   * Lists that have ended, and whom nobody knows any more. The list of one that is dead is kept for
   * its time: it may be back before it knows that it was missed, and would not tell anew.
   */
  #forget(): void {
    const { network, env } = this.#options;
    const endedMs = env.clock.monotonic() - LIST_LIFE_MS;
    for (const [node, { atMs }] of this.#heard) if (atMs <= endedMs) this.#heard.delete(node);
    const known = new Set(network.members().map(({ node }) => node));
    for (const node of this.#told.keys()) if (!known.has(node)) this.#told.delete(node);
  }

  async #run(): Promise<void> {
    const { clock } = this.#options.env;
    const { signal } = this.#closing;
    await clock.sleep(FIRST_LOOK_MS, { signal }).catch(() => {});
    while (!signal.aborted) {
      await this.#round();
      await clock.sleep(LOOK_EVERY_MS, { signal }).catch(() => {});
    }
  }

  async #round(): Promise<void> {
    const { network, env } = this.#options;
    this.#forget();
    try {
      const members = membersById(network);
      const linked = network.links().map(({ node }) => members.get(node));
      const there = linked.filter((member) => member !== undefined).filter(isThere);
      if (there.length === 0) return; // nobody to tell: the machine need not be looked at
      const list = await this.#lookSoon();
      const text = JSON.stringify(list);
      const due = there.filter((member) => this.#isDue(member, text));
      await mapBounded(due, CALLS_AT_ONCE, (member) => this.#tell(member, { list, text }));
    } catch (error) {
      env.log.warn('the disks of this machine cannot be listed', { error });
    }
  }

  #isDue({ node, incarnation }: MemberView, text: string): boolean {
    const told = this.#told.get(node);
    if (told?.text !== text || told.incarnation !== incarnation) return true;
    return this.#options.env.clock.monotonic() - told.atMs >= RENEW_EVERY_MS;
  }

  async #tell(
    { node, incarnation }: MemberView,
    { list, text }: { readonly list: readonly DiskEntry[]; readonly text: string },
  ): Promise<void> {
    const { network, env } = this.#options;
    const { signal } = this.#closing;
    const isTold = await this.#try(async () => {
      await network.call(node, TELL_METHOD, list, { deadlineMs: CALL_MS, signal });
      return true;
    });
    if (!isTold) return;
    const atMs = env.clock.monotonic();
    this.#told.set(node, { text, incarnation, atMs });
  }

  /** Whoever does not answer hears of it later. */
  async #try(work: () => Promise<boolean>): Promise<boolean> {
    return await work().catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
      return false;
    });
  }

  async #lookSoon(): Promise<readonly DiskEntry[]> {
    const nowMs = this.#options.env.clock.monotonic();
    if (!this.#look || nowMs - this.#look.atMs >= LOOK_LIFE_MS) {
      this.#look = { atMs: nowMs, list: this.#options.look() };
    }
    return await this.#look.list;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }
}
