/**
 * What every Transport must do, whatever it runs on. Aim: who writes another one calls this and is
 * done. Method: examples between two nodes in one process, then a whole Network on top.
 */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCode, MiB } from '../../src/base/index.ts';
import type { NodeKey } from '../../src/crypto/index.ts';
import { type Env, realEnv } from '../../src/env/index.ts';
import {
  linkedMembers,
  type Listener,
  type NetAddress,
  Network,
  parseAddress,
  type SecureDuplex,
  type Transport,
} from '../../src/net/index.ts';
import { everybody, keyOf } from './net-bed.ts';

export interface TransportCase {
  readonly name: string;
  /** Called for each test; transports of one `bed` reach each other. */
  readonly makeBed: (env: Env) => (key: NodeKey) => Transport;
  /** With port 0. */
  readonly listen: string;
  /** Where nobody listens. */
  readonly nobody: string;
}

const DEADLINE = { deadlineMs: 20_000 };

async function readExactly(duplex: Duplex, count: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let have = 0; have < count;) {
    const part = duplex.read() as Buffer | null;
    if (part === null) await once(duplex, 'readable');
    else {
      parts.push(part);
      have += part.length;
    }
  }
  return Buffer.concat(parts);
}

/** Ends of connections; the next one is waited for. */
class Arrivals {
  readonly all: SecureDuplex[] = [];
  #next = Promise.withResolvers<SecureDuplex>();

  readonly take = (peer: SecureDuplex): void => {
    peer.duplex.on('error', () => {});
    this.all.push(peer);
    this.#next.resolve(peer);
  };

  next(): Promise<SecureDuplex> {
    const { promise } = this.#next;
    void promise.then(() => (this.#next = Promise.withResolvers()));
    return promise;
  }
}

export function describeTransport({ name, makeBed, listen, nobody }: TransportCase): void {
  const [a, b, c] = [keyOf(1), keyOf(2), keyOf(3)];

  describe(`transport ${name}`, () => {
    let env: Env;
    let make: (key: NodeKey) => Transport;
    let stack: AsyncDisposableStack;
    let arrivals: Arrivals;
    let listener: Listener;
    let address: NetAddress;
    let signal: AbortSignal;

    beforeEach(async () => {
      env = realEnv();
      make = makeBed(env);
      stack = new AsyncDisposableStack();
      arrivals = new Arrivals();
      ({ signal } = new AbortController());
      listener = stack.use(await make(b).listen(parseAddress(listen), arrivals.take));
      ({ address } = listener);
    });

    afterEach(async () => {
      for (const { duplex } of arrivals.all) duplex.destroy();
      await stack.disposeAsync();
    });

    async function pair(): Promise<{ near: Duplex; far: Duplex }> {
      const arrival = arrivals.next();
      const { duplex: near, remote } = await make(a).dial(address, { expect: b.nodeId, signal });
      near.on('error', () => {});
      stack.defer(() => void near.destroy());
      expect(remote).toBe(b.nodeId);
      const far = await arrival;
      expect(far.remote).toBe(a.nodeId);
      return { near, far: far.duplex };
    }

    it('gives a real port', () => {
      expect(address.port).toBeGreaterThan(0);
      expect(address.scheme).toBe(make(a).scheme);
    });

    it('tells both ends who the other is, and carries bytes both ways', async () => {
      const { near, far } = await pair();
      near.write('there');
      far.write('and back');
      expect(String(await readExactly(far, 5))).toBe('there');
      expect(String(await readExactly(near, 8))).toBe('and back');
    });

    it('refuses another node than the one that was expected', async () => {
      const dial = make(a).dial(address, { expect: c.nodeId, signal });
      expect(await dial.catch(errorCode)).toBe('HF_DENIED');
    });

    it('reaches nobody where nobody listens', async () => {
      const dial = make(a).dial(parseAddress(nobody), { signal });
      expect(await dial.catch(errorCode)).toBe('HF_UNAVAILABLE');
    });

    it('gives up when told to', async () => {
      const aborted = AbortSignal.abort();
      const dial = make(a).dial(address, { signal: aborted });
      expect(await dial.catch(errorCode)).toBe('HF_INTERRUPTED');
    });

    it('tells one end that the other is gone', async () => {
      const { near, far } = await pair();
      const gone = once(far, 'close');
      far.resume();
      near.destroy();
      await gone;
    });

    it('lets an end finish what it says', async () => {
      const { near, far } = await pair();
      near.end(Buffer.alloc(300_000, 3));
      expect((await readExactly(far, 300_000)).length).toBe(300_000);
    });

    it('keeps nothing of a write whose callback it has called', async () => {
      const { near, far } = await pair();
      const tray = Buffer.alloc(200_000, 1);
      await new Promise((resolve) => near.write(tray, resolve));
      tray.fill(2);
      near.write('end');
      const arrived = await readExactly(far, tray.length + 3);
      expect(arrived.subarray(0, tray.length).every((byte) => byte === 1)).toBe(true);
    });

    it('makes a writer wait for a reader that does not read', async () => {
      const { near, far } = await pair();
      far.pause();
      let sent = 0;
      const piece = Buffer.alloc(MiB);
      let isWaiting = false;
      while (!isWaiting && sent < 256) {
        sent += 1;
        if (near.write(piece)) continue;
        const room = once(near, 'drain').then(() => 'room');
        // As long as bytes move, a third of a second sees some of them leave.
        isWaiting = (await Promise.race([room, env.clock.sleep(300)])) !== 'room';
      }
      expect(isWaiting).toBe(true);
    });

    it('stops to listen, and leaves connections alone', async () => {
      const { near, far } = await pair();
      await listener[Symbol.asyncDispose]();
      const dial = make(a).dial(address, { signal });
      expect(await dial.catch(errorCode)).toBe('HF_UNAVAILABLE');
      near.write('still');
      expect(String(await readExactly(far, 5))).toBe('still');
    });

    it('carries a network: calls and streams, up and down', async () => {
      const open = (key: NodeKey): Promise<Network> =>
        Network.open({
          env,
          key,
          transports: [make(key)],
          listen: [parseAddress(listen)],
          admission: everybody,
          membership: linkedMembers,
        });
      await using left = await open(a);
      await using right = await open(c);
      right.handle('mirror', {}, async (arg, { stream, from }) => {
        for await (const chunk of stream! as AsyncIterable<Buffer>) {
          if (!stream!.write(chunk)) await once(stream!, 'drain');
        }
        return [arg, from];
      });
      await left.connect(right.addresses[0]!);
      const opened = await left.open(right.self, 'mirror', 'x', DEADLINE);
      const content = Buffer.alloc(4 * MiB + 5, 'holdfast');
      opened.stream.end(content);
      const back = Buffer.concat(await Array.fromAsync(opened.stream as AsyncIterable<Buffer>));
      expect(back.equals(content)).toBe(true);
      expect(await opened.reply).toEqual(['x', left.self]);
    });
  });
}
