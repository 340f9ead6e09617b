/**
 * A registry on another node, and the part that answers for it. A reader keeps what it was told
 * last of some keys, so that asking again for what has not changed costs a few bytes:
 * `watchKey` makes use of that.
 */
import {
  assert,
  ByteReader,
  ByteWriter,
  HoldfastError,
  Mutex,
  type NodeId,
  remember,
} from '../base/index.ts';
import type { Network } from '../net/index.ts';
import type { Registry, Versioned } from './fenced-log.ts';
import { answerCalls, RemoteCalls, type RemoteCallsOptions } from './remote-calls.ts';

const SERVICE = 'registry';
const KEPT_KEYS_MAX = 256;
const KEPT_VALUE_BYTES_MAX = 64 * 1024;

/** What an answer about a key begins with. */
const ABSENT = 0;
const PRESENT = 1;
const UNCHANGED = 2;

export class RemoteRegistry implements Registry {
  readonly #calls: RemoteCalls;
  /** Oldest first. */
  readonly #kept = new Map<string, Versioned>();

  constructor(options: Omit<RemoteCallsOptions, 'service'>) {
    this.#calls = new RemoteCalls({ ...options, service: SERVICE });
  }

  async get(key: string): Promise<Versioned | undefined> {
    const kept = this.#kept.get(key);
    const arg = new ByteWriter()
      .text(key)
      .u64(kept?.version ?? 0)
      .finish();
    const reader = new ByteReader(await this.#calls.read('get', arg), 'answer of the registry');
    const kind = reader.u8();
    if (kind === UNCHANGED && kept) return copyOf(kept);
    this.#kept.delete(key);
    if (kind === ABSENT) return undefined;
    if (kind !== PRESENT) throw reader.corrupt('there is no such answer');
    const found = readRow(reader);
    reader.end();
    if (found.key !== key) throw reader.corrupt('it is about another key');
    this.#keep(found);
    return copyOf(found);
  }

  async list(prefix: string): Promise<readonly Versioned[]> {
    const answer = await this.#calls.read('list', new ByteWriter().text(prefix).finish());
    const reader = new ByteReader(answer, 'answer of the registry');
    const rows: Versioned[] = [];
    while (reader.left > 0) rows.push(readRow(reader));
    return rows;
  }

  async compareAndSet(
    key: string,
    expected: number,
    value: Uint8Array | undefined,
  ): Promise<number | undefined> {
    assert(expected >= 0, 'a version is not negative');
    const arg = new ByteWriter()
      .text(key)
      .u64(expected)
      .u8(value ? 1 : 0);
    if (value) arg.bytes(value);
    const answer = await this.#calls.change('compare-and-set', arg.finish());
    const version = new ByteReader(answer, 'answer of the registry').u64();
    return version === 0 ? undefined : version;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#calls.close();
  }

  #keep(row: Versioned): void {
    if (row.value.length > KEPT_VALUE_BYTES_MAX) return;
    remember(this.#kept, row.key, row, KEPT_KEYS_MAX);
  }
}

/** As another node asks for it: see {@link Registry.compareAndSet}. */
export interface ProposedChange {
  readonly key: string;
  readonly expected: number;
  readonly value: Uint8Array | undefined;
}

export interface ServeRegistryOptions {
  /** Whether a node may read keys that begin so. */
  readonly mayRead: (from: NodeId, key: string) => boolean;
  /** Asked about one change at a time: before it is answered and made, no other node changes. */
  readonly mayChange: (from: NodeId, change: ProposedChange) => boolean | Promise<boolean>;
}

export function serveRegistry(
  network: Pick<Network, 'handle'>,
  registry: Registry,
  { mayRead, mayChange }: ServeRegistryOptions,
): void {
  const changes = new Mutex();
  answerCalls(network, SERVICE, {
    async get(arg, from) {
      const reader = new ByteReader(arg, 'request');
      const key = reader.text();
      const known = reader.u64();
      reader.end();
      permit(mayRead(from, key));
      const found = await registry.get(key);
      if (!found) return Uint8Array.of(ABSENT);
      if (found.version === known) return Uint8Array.of(UNCHANGED);
      return writeRow(new ByteWriter().u8(PRESENT), found).finish();
    },
    async list(arg, from) {
      const reader = new ByteReader(arg, 'request');
      const prefix = reader.text();
      reader.end();
      permit(mayRead(from, prefix));
      const writer = new ByteWriter();
      for (const row of await registry.list(prefix)) writeRow(writer, row);
      return writer.finish();
    },
    async 'compare-and-set'(arg, from) {
      const reader = new ByteReader(arg, 'request');
      const [key, expected] = [reader.text(), reader.u64()];
      const value = reader.u8() === 1 ? new Uint8Array(reader.bytes()) : undefined;
      reader.end();
      const version = await changes.run(async () => {
        permit(await mayChange(from, { key, expected, value }));
        return await registry.compareAndSet(key, expected, value);
      });
      return new ByteWriter().u64(version ?? 0).finish();
    },
  });
}

function permit(isPermitted: boolean): void {
  if (!isPermitted) throw new HoldfastError('HF_DENIED', 'the registry does not take this of you');
}

function writeRow(writer: ByteWriter, { key, version, value }: Versioned): ByteWriter {
  return writer.text(key).u64(version).bytes(value);
}

function readRow(reader: ByteReader): Versioned {
  return { key: reader.text(), version: reader.u64(), value: new Uint8Array(reader.bytes()) };
}

function copyOf(row: Versioned): Versioned {
  return { ...row, value: new Uint8Array(row.value) };
}
