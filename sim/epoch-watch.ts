/**
 * Ruling 11, seen from outside: what a node has heard of whole groups, and that its stores take no
 * put of an older epoch from then on. It stands between a node and its network.
 */
import { type ChunkId, groupOf, type NodeId } from '../src/base/index.ts';
import type { Handler, HandleOptions, Network } from '../src/net/index.ts';
import { serveWholeEpochs, tellWhole, WholeEpochs } from '../src/repair/index.ts';

interface EpochWatchOptions {
  readonly network: Network;
  readonly home: () => NodeId;
  /** Told when a store of this node took a put that it had to refuse. */
  readonly onOldPut: (epoch: number, oldest: number) => void;
}

const PUTS = ['store/put', 'store/put-stream'];

export class EpochWatch implements Pick<Network, 'handle'> {
  readonly #network: Network;
  readonly #onOldPut: EpochWatchOptions['onOldPut'];
  readonly #epochs = new WholeEpochs();

  constructor({ network, home, onOldPut }: EpochWatchOptions) {
    this.#network = network;
    this.#onOldPut = onOldPut;
    serveWholeEpochs(network, this.#epochs, { maySay: (from) => from === home() });
  }

  oldest(group: number): number {
    return this.#epochs.oldest(group);
  }

  handle<Arg>(method: string, options: HandleOptions<Arg>, handler: Handler<Arg>): void {
    if (!PUTS.includes(method)) return this.#network.handle(method, options, handler);
    this.#network.handle<Arg>(method, options, async (arg, context) => {
      const { id, epoch } = arg as { id: ChunkId; epoch: number };
      const oldest = this.oldest(groupOf(id));
      const answer = await handler(arg, context);
      if (epoch < oldest) this.#onOldPut(epoch, oldest);
      return answer;
    });
  }

  /** To be told to all nodes: what the home has found whole. */
  async tell(groups: readonly number[], epoch: number): Promise<void> {
    this.#epochs.raise(groups, epoch);
    const nodes = this.#network.members().filter(({ health }) => health === 'alive');
    const ids = nodes.map(({ node }) => node);
    await tellWhole(this.#network, ids, { groups, epoch });
  }
}
