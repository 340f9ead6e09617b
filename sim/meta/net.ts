/**
 * Calls between places that lose, double, delay and overtake each other. A question may arrive when
 * whoever asked has given up, twice, or at the next life of the machine; an answer may get lost.
 */
import { assert, errorCode, errorMessage, HoldfastError } from '../../src/base/index.ts';
import type { SeededRandom } from '../random.ts';
import type { Life, Time } from './time.ts';

export interface NetRates {
  /** Of one message. */
  readonly loss: number;
  readonly doubling: number;
  /** How much later the second one of a doubled message may set out. */
  readonly echoMsMax: number;
  readonly delayMsMax: number;
  /** Of one message, to be late by up to a second. */
  readonly lateness: number;
}

const GOOD_NET: NetRates = { loss: 0, doubling: 0, echoMsMax: 0, delayMsMax: 2, lateness: 0 };
const LATE_MS_MAX = 400;

/** A place that is asked: its life of the moment, if it has one. */
export interface Place<Host> {
  readonly index: number;
  readonly current: { readonly life: Life; readonly host: Host } | undefined;
}

/** Who asks: clients have places of their own, beyond the machines'. */
export interface Asker {
  readonly index: number;
  readonly life: Life;
}

export interface NetOptions {
  readonly time: Time;
  readonly random: SeededRandom;
  readonly rates: NetRates;
  /** Hears of errors that are no answer but a bug. */
  readonly onBug: (error: unknown) => void;
}

export class Net {
  readonly #options: NetOptions;
  #rates = GOOD_NET;
  /** Places whose messages do not get out, in, or neither. */
  readonly #cutOut = new Set<number>();
  readonly #cutIn = new Set<number>();
  messageCount = 0;

  constructor(options: NetOptions) {
    this.#options = options;
  }

  cut(index: number, ways: { readonly out: boolean; readonly in: boolean }): void {
    if (ways.out) this.#cutOut.add(index);
    if (ways.in) this.#cutIn.add(index);
  }

  mend(index: number): void {
    this.#cutOut.delete(index);
    this.#cutIn.delete(index);
  }

  disturb(): void {
    this.#rates = this.#options.rates;
  }

  /** From now on nothing goes wrong. */
  heal(): void {
    this.#rates = GOOD_NET;
    this.#cutOut.clear();
    this.#cutIn.clear();
  }

  /** @throws HF_TIMEOUT; else what the other side answered with. */
  call<Host, Answer>(
    from: Asker,
    to: Place<Host>,
    question: { readonly ask: (host: Host) => Promise<Answer>; readonly timeoutMs: number },
  ): Promise<Answer> {
    const { time } = this.#options;
    return new Promise((resolve, reject) => {
      let isAnswered = false;
      const timeOut = (): void => reject(new HoldfastError('HF_TIMEOUT'));
      const unless = { life: from.life, isNeedless: () => isAnswered };
      time.afterUnless(question.timeoutMs, timeOut, unless);
      this.#send(from.index, to.index, () => {
        const arrivedAt = to.current; // a later life answers what was meant for an earlier one
        if (!arrivedAt) return;
        const { life, host } = arrivedAt;
        const answer = (deliver: () => void): void => {
          if (life.isOver) return;
          this.#send(to.index, from.index, () => {
            from.life.whenAwake(() => {
              isAnswered = true;
              deliver();
            });
          });
        };
        life.whenAwake(() => {
          question.ask(host).then(
            (result) => answer(() => resolve(result)),
            (error: unknown) => answer(() => reject(this.#overWire(error))),
          );
        });
      });
    });
  }

  #overWire(error: unknown): HoldfastError {
    const code = errorCode(error);
    if (code === undefined) {
      this.#options.onBug(error);
      return new HoldfastError('HF_INTERNAL');
    }
    return new HoldfastError(code, errorMessage(error));
  }

  #send(from: number, to: number, arrive: () => void): void {
    const { random } = this.#options;
    const { doubling, echoMsMax } = this.#rates;
    this.#sendOnce(from, to, { arrive, afterMs: 0 });
    if (doubling === 0 || !random.chance(doubling)) return;
    this.#sendOnce(from, to, { arrive, afterMs: random.below(echoMsMax + 1) });
  }

  #sendOnce(from: number, to: number, message: { arrive: () => void; afterMs: number }): void {
    const { time, random } = this.#options;
    const { loss, delayMsMax, lateness } = this.#rates;
    assert(delayMsMax >= 1, 'a message takes its time');
    this.messageCount += 1;
    if (from === to) return time.after(message.afterMs, message.arrive);
    if (this.#cutOut.has(from) || this.#cutIn.has(to)) return;
    if (loss > 0 && random.chance(loss)) return;
    const lateMs = lateness > 0 && random.chance(lateness) ? random.below(LATE_MS_MAX) : 0;
    time.after(message.afterMs + 1 + random.below(delayMsMax) + lateMs, message.arrive);
  }
}
