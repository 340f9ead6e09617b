/**
 * The inodes that this node has open, as the cells of the volume are to know them: what is removed
 * while it is open stays, as an orphan, until the last one closes it. All mounts of a volume on a
 * node share one session (`meta/handles`); when that is over, another one begins and everything is
 * declared again. What was removed between the two is gone for those who had it open.
 *
 * Invariant: of one inode only one declaration is under way at a time.
 */
import {
  batchesOf,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  Mutex,
  toHex,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Handles, Inode, Removal, SessionId, SessionState } from '../meta/index.ts';
import { Background } from './background.ts';

export interface OpenInodesOptions {
  readonly env: Env;
  readonly handles: Handles;
  /** As the node calls itself. */
  readonly node: string;
  /** Frees what a removed inode holds, if nobody has it open. */
  readonly release: (inode: Inode, about: { readonly wasOpen: boolean }) => Promise<void>;
}

/** Who keeps something in the session besides open inodes: locks, directory leases. */
export interface SessionWatcher {
  /** All that was kept in the session is gone; the next one is open. */
  readonly sessionOver: () => void;
  /** A cell's memory began anew: what waits in it is to be asked again. */
  readonly begunAnew?: () => void;
}

interface HeldInode {
  count: number;
  readonly declaring: Mutex;
  /** The cells know that it is open. */
  isDeclared: boolean;
  /** Its last name was removed here. */
  isOrphan: boolean;
}

const SESSION_BYTES = 16;
/** Three signs of life in a lease. */
const SIGNS_PER_LEASE = 3;
/** How long a cell's memory is young, and a bit. */
const EARLY_MS = LIMITS.sessionLeaseMs + 10_000;
/** The collector finds what is more. */
const EARLY_MAX = 10_000;
/** Clocks are of unlike rate, and a look at one is before the act. */
const SURE_MS = LIMITS.sessionLeaseMs - 1000;

export class OpenInodes implements AsyncDisposable {
  readonly #options: OpenInodesOptions;
  readonly #held = new Map<Inode, HeldInode>();
  readonly #background: Background;
  readonly #end = new AbortController();
  readonly #opening = new Mutex();
  #isBeginning = false;
  readonly #watchers: SessionWatcher[] = [];
  #session: SessionId;
  #generation = '';
  /** Monotonic: when the newest sign of life that was answered was given. */
  #askedAtMs = -Infinity;
  #living: Promise<void> | undefined;
  /** Monotonic: when the cells, or one of them, began to learn what is open. */
  #begunAtMs: number;
  #early: Inode[] = [];

  private constructor(options: OpenInodesOptions) {
    this.#options = options;
    this.#background = new Background(options.env.log);
    this.#session = this.#newSession();
    this.#begunAtMs = options.env.clock.monotonic();
  }

  static async open(options: OpenInodesOptions): Promise<OpenInodes> {
    const opened = new OpenInodes(options);
    opened.#generation = (await opened.#begin()).generation;
    await opened.#endOthers();
    opened.#living = opened.#live();
    return opened;
  }

  /**
   * One more has it open; {@link drop} ends it.
   * @param isGuarded nobody can remove it without this node: {@link declare} tells the cells when
   *   that changes.
   * @throws HF_NOT_FOUND when it is gone.
   */
  async hold(inode: Inode, { isGuarded = false } = {}): Promise<void> {
    const fresh = { count: 0, declaring: new Mutex(), isDeclared: false, isOrphan: false };
    const held = this.#held.get(inode) ?? fresh;
    this.#held.set(inode, held);
    held.count += 1;
    if (isGuarded || held.isDeclared) return;
    try {
      const isThere = await this.#declare(inode, held);
      if (!isThere) throw new HoldfastError('HF_NOT_FOUND', `inode ${inode} is gone`);
    } catch (error) {
      await this.drop(inode);
      throw error;
    }
  }

  /** @returns whether it is there. */
  async #declare(inode: Inode, held: HeldInode): Promise<boolean> {
    return await held.declaring.run(async () => {
      const { handles } = this.#options;
      const gone = await this.inSession((session) => handles.open(session, [inode]));
      held.isDeclared = gone.length === 0;
      return held.isDeclared;
    });
  }

  isOpen(inode: Inode): boolean {
    return this.#held.has(inode);
  }

  /** Whether it is open here, and only this node knows. */
  isUndeclared(inode: Inode): boolean {
    return this.#held.get(inode)?.isDeclared === false;
  }

  /** Whatever of these is open here is known to be, as far as it is there. */
  async declare(inodes: Iterable<Inode>): Promise<void> {
    for (const inode of inodes) {
      const held = this.#held.get(inode);
      if (held && !held.isDeclared) await this.#declare(inode, held);
    }
  }

  async drop(inode: Inode): Promise<void> {
    const held = this.#held.get(inode);
    if (!held) return;
    held.count -= 1;
    await held.declaring.run(async () => {
      if (held.count > 0 || this.#held.get(inode) !== held) return;
      if (held.isDeclared) {
        held.isDeclared = false;
        await this.inSession((session) => this.#options.handles.close(session, [inode])).catch(
          (error: unknown) => this.#note('an inode could not be declared closed', error),
        );
      }
      if (held.count > 0) return; // opened again meanwhile, and about to be declared
      this.#held.delete(inode);
      if (held.isOrphan) {
        const released = this.#options.release(inode, { wasOpen: true });
        this.#background.start('a release', released);
      }
    });
  }

  /** An inode lost a name: what has none any more goes, now or when nobody here has it open. */
  removed({ status: { inode, linkCount, type } }: Removal): void {
    if (linkCount > 0 || type === 'directory') return;
    this.#noteEarly(inode);
    const held = this.#held.get(inode);
    if (held) held.isOrphan = true;
    else this.#background.start('a release', this.#options.release(inode, { wasOpen: false }));
  }

  /**
   * While a cell does not know yet who has what open, whatever is removed stays: it is asked for
   * again when it does.
   */
  #noteEarly(inode: Inode): void {
    const isEarly = this.#options.env.clock.monotonic() < this.#begunAtMs + EARLY_MS;
    if (isEarly && this.#early.length < EARLY_MAX) this.#early.push(inode);
  }

  #releaseEarly(): void {
    if (this.#options.env.clock.monotonic() < this.#begunAtMs + EARLY_MS) return;
    for (const inode of this.#early.splice(0)) {
      if (this.#held.has(inode)) continue;
      const released = this.#options.release(inode, { wasOpen: true });
      this.#background.start('a release', released);
    }
  }

  /** An orphan got a name. */
  linked(inode: Inode): void {
    const held = this.#held.get(inode);
    if (held) held.isOrphan = false;
  }

  // The session.

  #newSession(): SessionId {
    return toHex(this.#options.env.random.bytes(SESSION_BYTES));
  }

  async #begin(): Promise<SessionState> {
    const { handles, node, env } = this.#options;
    const atMs = env.clock.monotonic();
    const state = await handles.openSession({ session: this.#session, node });
    this.#askedAtMs = atMs;
    return state;
  }

  /** From now on; as long as the mounts of the volume. */
  watch(watcher: SessionWatcher): void {
    this.#watchers.push(watcher);
  }

  get session(): SessionId {
    return this.#session;
  }

  /** Of earlier lives of this node: what they held is held by nobody. */
  async #endOthers(): Promise<void> {
    const { handles, node } = this.#options;
    try {
      for (const { session, node: of } of await handles.sessions()) {
        if (of === node && session !== this.#session) await handles.closeSession(session);
      }
    } catch (error) {
      this.#note('sessions of an earlier life could not be ended', error);
    }
  }

  /** Whether the session may be counted on: no steward ends it before. */
  get isSure(): boolean {
    return this.#options.env.clock.monotonic() - this.#askedAtMs < SURE_MS;
  }

  /** Has begun another session in the place of one that is over. */
  async renewed(over: SessionId): Promise<void> {
    await this.#beginAnew(over);
  }

  /** Asks in the session; in a new one when it is over. */
  async inSession<Result>(ask: (session: SessionId) => Promise<Result>): Promise<Result> {
    // One that is being begun does not count before.
    if (this.#isBeginning) await this.#opening.run(async () => undefined);
    const session = this.#session;
    try {
      return await ask(session);
    } catch (error) {
      if (errorCode(error) !== 'HF_SESSION_OVER') throw error;
      await this.#beginAnew(session);
      return await ask(this.#session);
    }
  }

  async #beginAnew(over: SessionId): Promise<void> {
    await this.#opening.run(async () => {
      if (this.#session !== over) return;
      using _ = this.#beginning();
      this.#options.env.log.warn('the session of the mounts of a volume was over');
      // One that could not be begun is begun, not given up: nothing was kept in it.
      if (this.#generation !== '' || !(await this.#isStillToBegin())) this.#giveUpSession();
      const { generation } = await this.#begin();
      await this.#declareAll();
      this.#generation = generation;
    });
  }

  async #isStillToBegin(): Promise<boolean> {
    try {
      await this.#begin();
      return true;
    } catch (error) {
      if (errorCode(error) !== 'HF_SESSION_OVER') throw error;
      return false;
    }
  }

  #giveUpSession(): void {
    this.#session = this.#newSession();
    this.#generation = ''; // until all is declared, also when something fails
    for (const watcher of this.#watchers) watcher.sessionOver();
  }

  #beginning(): Disposable {
    this.#isBeginning = true;
    return { [Symbol.dispose]: () => (this.#isBeginning = false) };
  }

  async #declareAll(): Promise<void> {
    const declared = Array.from(this.#held).filter(([, { isDeclared }]) => isDeclared);
    const inodes = declared.map(([inode]) => inode);
    for (const page of batchesOf(inodes, LIMITS.listPageMax)) {
      await this.#options.handles.open(this.#session, page);
    }
  }

  async #live(): Promise<void> {
    const { env, handles } = this.#options;
    const { signal } = this.#end;
    const everyMs = LIMITS.sessionLeaseMs / SIGNS_PER_LEASE;
    for await (const _ of env.clock.every(everyMs, { signal })) {
      try {
        const atMs = env.clock.monotonic();
        const { generation } = await this.inSession((session) => handles.renewSession(session));
        this.#askedAtMs = Math.max(this.#askedAtMs, atMs);
        this.#releaseEarly();
        if (generation === this.#generation) continue;
        this.#begunAtMs = env.clock.monotonic();
        await this.#declareAll();
        this.#generation = generation;
        for (const watcher of this.#watchers) watcher.begunAnew?.();
      } catch (error) {
        this.#note('the session of the mounts of a volume gave no sign of life', error);
      }
    }
  }

  /** @throws what is no operating error. */
  #note(message: string, error: unknown): void {
    if (errorCode(error) === undefined) throw error;
    this.#options.env.log.warn(message, { reason: errorMessage(error) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#living;
    await this.#background.settle();
    await this.#options.handles
      .closeSession(this.#session)
      .catch((error: unknown) => this.#note('a session could not be closed', error));
  }
}
