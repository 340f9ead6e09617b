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
  readonly release: (inode: Inode) => Promise<void>;
}

interface HeldInode {
  count: number;
  readonly declaring: Mutex;
  /** Its last name was removed here. */
  isOrphan: boolean;
}

const SESSION_BYTES = 16;
/** Three signs of life in a lease. */
const SIGNS_PER_LEASE = 3;

export class OpenInodes implements AsyncDisposable {
  readonly #options: OpenInodesOptions;
  readonly #held = new Map<Inode, HeldInode>();
  readonly #background: Background;
  readonly #end = new AbortController();
  readonly #opening = new Mutex();
  #session: SessionId;
  #generation = '';
  #living: Promise<void> | undefined;

  private constructor(options: OpenInodesOptions) {
    this.#options = options;
    this.#background = new Background(options.env.log);
    this.#session = this.#newSession();
  }

  static async open(options: OpenInodesOptions): Promise<OpenInodes> {
    const opened = new OpenInodes(options);
    opened.#generation = (await opened.#begin()).generation;
    opened.#living = opened.#live();
    return opened;
  }

  /** One more has it open; {@link drop} ends it. @throws HF_NOT_FOUND when it is gone. */
  async hold(inode: Inode): Promise<void> {
    const found = this.#held.get(inode);
    const held = found ?? { count: 0, declaring: new Mutex(), isOrphan: false };
    this.#held.set(inode, held);
    held.count += 1;
    try {
      await held.declaring.run(async () => {
        const gone = await this.#inSession((session) =>
          this.#options.handles.open(session, [inode]),
        );
        if (gone.length > 0) throw new HoldfastError('HF_NOT_FOUND', `inode ${inode} is gone`);
      });
    } catch (error) {
      await this.drop(inode);
      throw error;
    }
  }

  async drop(inode: Inode): Promise<void> {
    const held = this.#held.get(inode);
    if (!held) return;
    held.count -= 1;
    await held.declaring.run(async () => {
      if (held.count > 0 || this.#held.get(inode) !== held) return;
      await this.#inSession((session) => this.#options.handles.close(session, [inode])).catch(
        (error: unknown) => this.#note('an inode could not be declared closed', error),
      );
      if (held.count > 0) return; // opened again meanwhile, and about to be declared
      this.#held.delete(inode);
      if (held.isOrphan) this.#background.start('a release', this.#options.release(inode));
    });
  }

  /** An inode lost a name: what has none any more goes, now or when nobody here has it open. */
  removed({ status: { inode, linkCount, type } }: Removal): void {
    if (linkCount > 0 || type === 'directory') return;
    const held = this.#held.get(inode);
    if (held) held.isOrphan = true;
    else this.#background.start('a release', this.#options.release(inode));
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
    const { handles, node } = this.#options;
    return await handles.openSession({ session: this.#session, node });
  }

  /** Asks in the session; in a new one when it is over. */
  async #inSession<Result>(ask: (session: SessionId) => Promise<Result>): Promise<Result> {
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
      this.#options.env.log.warn('the session of the mounts of a volume was over');
      this.#session = this.#newSession();
      this.#generation = (await this.#begin()).generation;
      await this.#declareAll();
    });
  }

  async #declareAll(): Promise<void> {
    for (const page of batchesOf([...this.#held.keys()], LIMITS.listPageMax)) {
      await this.#options.handles.open(this.#session, page);
    }
  }

  async #live(): Promise<void> {
    const { env, handles } = this.#options;
    const { signal } = this.#end;
    const everyMs = LIMITS.sessionLeaseMs / SIGNS_PER_LEASE;
    for await (const _ of env.clock.every(everyMs, { signal })) {
      try {
        const { generation } = await this.#inSession((session) => handles.renewSession(session));
        if (generation === this.#generation) continue;
        await this.#declareAll();
        this.#generation = generation;
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
