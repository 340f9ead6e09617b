/**
 * The way of a node to the etcd that has the registry, wherever that is: in a ring of the nodes, or
 * in an etcd that was named. When the registry moves from one to the other, what was meant for the
 * one must not reach the other, where its conditions may hold by chance: so a new connection is
 * begun, and a generation of the registry is asked for by its number.
 */
import { type ErrorCode, errorCode, errorMessage, HoldfastError } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import { type DialEtcd, EtcdConnection, type EtcdKv, PrefixedKv } from '../../log/index.ts';

const SILENCES: readonly ErrorCode[] = ['HF_UNAVAILABLE', 'HF_TIMEOUT', 'HF_UNKNOWN_OUTCOME'];
const NO_MAJORITY =
  'no majority of the nodes that keep the names answers this one: ' +
  'holdfast status says who is missing';
const NO_ETCD = 'your etcd, which keeps the names, does not answer this node';

export interface RingWayEnd {
  /** Of the registry that it has. */
  readonly generation: number;
  /** How our keys there begin; `undefined` when nobody else has any there. */
  readonly prefix: string | undefined;
  readonly members: readonly DialEtcd[];
}

export class RingWay implements AsyncDisposable {
  readonly #clock: Clock;
  #end: RingWayEnd | undefined;
  #connection: EtcdConnection;
  #kv: EtcdKv;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#connection = new EtcdConnection({ members: [nobody], clock });
    this.#kv = this.#connection;
  }

  /** From now on it leads there. */
  lead(end: RingWayEnd): void {
    const { generation, prefix, members } = end;
    if (generation === this.#end?.generation && prefix === this.#end.prefix) {
      this.#connection.setMembers(members);
    } else {
      void this.#connection[Symbol.asyncDispose](); // what is under way fails
      this.#connection = new EtcdConnection({ members, clock: this.#clock });
      this.#kv = prefix === undefined ? this.#connection : new PrefixedKv(this.#connection, prefix);
    }
    this.#end = end;
  }

  /** To wherever it leads, while that is of the generation; to any when left out. */
  kv(generation?: number): EtcdKv {
    return {
      transact: async (transaction) => {
        if (generation !== undefined && generation !== this.#end?.generation) {
          const message = `there is no way to generation ${generation} of the metadata`;
          throw new HoldfastError('HF_UNAVAILABLE', message);
        }
        return await this.#kv.transact(transaction).catch((error: unknown) => {
          throw this.#unanswered(error);
        });
      },
      change: async (...change) => await this.#kv.change(...change),
      [Symbol.asyncDispose]: async () => {},
    };
  }

  /** What a silence at the end means to people. */
  #unanswered(error: unknown): unknown {
    const code = errorCode(error);
    if (!this.#end || code === undefined || !SILENCES.includes(code)) return error;
    const text =
      this.#end.prefix === undefined ? NO_MAJORITY : `${NO_ETCD} (${errorMessage(error)})`;
    return new HoldfastError(code, text, { cause: error });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]();
  }
}

async function nobody(): Promise<never> {
  throw new HoldfastError('HF_UNAVAILABLE', 'there is no ring');
}
