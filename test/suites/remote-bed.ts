/** Two nodes on a network in memory: one that serves, and one that asks. */
import { type Env, MetricsTable } from '../../src/env/index.ts';
import { MemoryNet, type Network, parseAddress } from '../../src/net/index.ts';
import { openMemoryNode } from './net-bed.ts';
import { virtualEnv } from './virtual-env.ts';

export class RemoteBed implements AsyncDisposable {
  readonly env: Env;
  readonly metrics = new MetricsTable();
  readonly net: MemoryNet;
  asker!: Network;
  server!: Network;

  private constructor(env: Env) {
    this.env = { ...env, metrics: this.metrics };
    this.net = new MemoryNet(this.env);
  }

  /** @param serve registers what the serving node answers; called again when it is restarted. */
  static async open(serve: (server: Network, bed: RemoteBed) => void): Promise<RemoteBed> {
    const bed = new RemoteBed(virtualEnv(1));
    const { env, net } = bed;
    bed.asker = await openMemoryNode({ env, net, number: 1 });
    await bed.startServer(serve);
    return bed;
  }

  async startServer(serve: (server: Network, bed: RemoteBed) => void): Promise<void> {
    const { env, net } = this;
    this.server = await openMemoryNode({ env, net, number: 2 });
    serve(this.server, this);
    await this.asker.connect(parseAddress('memory://node-2:1'));
  }

  /** As when the process is killed. */
  async killServer(): Promise<void> {
    this.net.cut(this.server.self);
    await this.server[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.net.heal();
    await this.asker[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}
