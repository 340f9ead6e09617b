/**
 * Ruling 11, seen from outside: once a node has heard that a group is whole at some topology epoch,
 * its stores take no put of an older one. It stands between a node and its network.
 */
import { type ChunkId, GROUP_COUNT, groupOf } from '../src/base/index.ts';
import type { Handler, HandleOptions, Network } from '../src/net/index.ts';
import { WholeEpochs } from '../src/repair/index.ts';

const PUTS = ['store/put', 'store/put-stream'];
const WHOLE = 'repair/whole';

export interface EpochWatchOptions {
  readonly network: Pick<Network, 'handle'>;
  /** Whether the node hears of it at all; only planted bugs do not. */
  readonly isHeeded: boolean;
  /** Told when a store of this node took a put that it had to refuse. */
  readonly onOldPut: (epoch: number, oldest: number) => void;
}

export class EpochWatch implements Pick<Network, 'handle'> {
  readonly #options: EpochWatchOptions;
  readonly #epochs = new WholeEpochs();

  constructor(options: EpochWatchOptions) {
    this.#options = options;
  }

  handle<Arg>(method: string, options: HandleOptions<Arg>, handler: Handler<Arg>): void {
    const { network } = this.#options;
    if (method === WHOLE) return network.handle(method, options, this.#hearing(handler));
    if (PUTS.includes(method)) return network.handle(method, options, this.#watching(handler));
    network.handle(method, options, handler);
  }

  #hearing<Arg>(handler: Handler<Arg>): Handler<Arg> {
    return (arg, context) => {
      const answer = this.#options.isHeeded ? handler(arg, context) : null;
      const { groups, epoch } = arg as { groups: Uint8Array; epoch: number };
      this.#epochs.raise(groupsIn(groups), epoch);
      return answer;
    };
  }

  #watching<Arg>(handler: Handler<Arg>): Handler<Arg> {
    return async (arg, context) => {
      const { id, epoch } = arg as { id: ChunkId; epoch: number };
      const oldest = this.#epochs.oldest(groupOf(id));
      const answer: unknown = await handler(arg, context);
      if (epoch < oldest) this.#options.onOldPut(epoch, oldest);
      return answer;
    };
  }
}

function* groupsIn(bitmap: Uint8Array): Generator<number> {
  for (let group = 0; group < GROUP_COUNT; group++) {
    if (bitmap[group >> 3]! & (1 << (group & 7))) yield group;
  }
}
