/**
 * What the engine asks of an etcd: transactions, and to be told of changes. `EtcdConnection` is a
 * real one, `MemoryEtcd` a simulated one.
 *
 * An attempt fails in one of two ways: it *surely did nothing* (HF_UNAVAILABLE, HF_NO_SPACE), or it
 * is *in doubt* (HF_UNKNOWN_OUTCOME): it may have been done, or may be done a while from now. So
 * every change must be harmless when it is done late or twice: its conditions see to that.
 */
import { errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type {
  EtcdAnswer,
  EtcdOperation,
  EtcdRange,
  EtcdResult,
  EtcdTransaction,
} from './etcd-messages.ts';

export interface EtcdKv extends AsyncDisposable {
  /**
   * One attempt, with a deadline of its own.
   * @throws HF_UNAVAILABLE, HF_NO_SPACE: nothing was done; HF_UNKNOWN_OUTCOME; HF_NOT_FOUND when
   *   what it reads of the past is no longer kept.
   */
  transact(transaction: EtcdTransaction): Promise<EtcdResult>;
  /**
   * Resolves when something in the range has been changed since revision `since`, when that cannot
   * be told any more, or when `signal` is aborted: then the caller looks. Never fails.
   */
  change(range: EtcdRange, since: number, signal: AbortSignal): Promise<void>;
}

/** Attempts go on for so long: three deadlines, and longer than an election. */
const PATIENCE_MS = 4500;
const PAUSE_MS = 50;

export interface EtcdCallsOptions {
  readonly kv: EtcdKv;
  readonly clock: Clock;
  /** After this no attempt is begun. */
  readonly patienceMs?: number | undefined;
}

/** A change that came to an end. */
export interface EtcdOutcome extends EtcdResult {
  /** An attempt before the one that was answered may have been done, or may be done yet. */
  readonly isAfterDoubt: boolean;
}

/** Tries again while trying again may help. */
export class EtcdCalls {
  readonly #options: EtcdCallsOptions;

  constructor(options: EtcdCallsOptions) {
    this.#options = options;
  }

  /** Answers as of one moment. @throws HF_UNAVAILABLE, HF_NOT_FOUND. */
  async ask(operations: readonly EtcdOperation[]): Promise<readonly EtcdAnswer[]> {
    return (await this.question(operations)).answers;
  }

  /** The same, with etcd's revision of that moment. */
  async question(operations: readonly EtcdOperation[]): Promise<EtcdResult> {
    try {
      return await this.#attempts({ conditions: [], ifMet: operations, ifNot: [] });
    } catch (error) {
      if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
      throw new HoldfastError('HF_UNAVAILABLE', errorMessage(error), { cause: error });
    }
  }

  /**
   * @param transaction its `ifNot` reads what tells whether an earlier attempt was done.
   * @throws HF_UNKNOWN_OUTCOME; HF_UNAVAILABLE, HF_NO_SPACE when surely nothing was done.
   */
  async change(transaction: EtcdTransaction): Promise<EtcdOutcome> {
    return await this.#attempts(transaction);
  }

  async #attempts(transaction: EtcdTransaction): Promise<EtcdOutcome> {
    const { kv, clock, patienceMs = PATIENCE_MS } = this.#options;
    const end = clock.monotonic() + patienceMs;
    let doubt: unknown;
    for (;;) {
      try {
        const result = await kv.transact(transaction);
        return { ...result, isAfterDoubt: doubt !== undefined };
      } catch (error) {
        const code = errorCode(error);
        if (code === 'HF_UNKNOWN_OUTCOME') doubt = error;
        const isFinal = code !== 'HF_UNKNOWN_OUTCOME' && code !== 'HF_UNAVAILABLE';
        if (isFinal || clock.monotonic() >= end) throw doubt ?? error;
      }
      await clock.sleep(PAUSE_MS);
    }
  }
}
