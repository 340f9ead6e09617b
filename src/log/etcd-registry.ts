/**
 * The registry in etcd: a row for each key, its value sealed, its version etcd's revision. No other
 * bytes are the same as those of a value that was sealed once, so an outcome that was in doubt is
 * found out by reading.
 */
import {
  assert,
  bytesEqual,
  concatBytes,
  errorCode,
  fromUtf8,
  HoldfastError,
  utf8,
} from '../base/index.ts';
import { deriveKey, NONCE_BYTES, openRecord, sealRecord } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import { changedAt } from './etcd-keys.ts';
import {
  EtcdGeneration,
  type EtcdPlace,
  type GenerationCalls,
  registryPrefix,
  type ResultInLife,
} from './etcd-generation.ts';
import type { EtcdKv } from './etcd-kv.ts';
import { FIRST_LIFE } from './etcd-life.ts';
import { endOfPrefix, type EtcdRow, type EtcdTransaction } from './etcd-messages.ts';
import type { Versioned } from './fenced-log.ts';
import {
  assertNoSeal,
  assertSealedTo,
  encodeSeal,
  type NextGeneration,
  type RegistryCopy,
  SEAL_KEY,
  type SealableRegistry,
} from './generations.ts';
import { type Look, statesOf } from './watch-key.ts';

const PAGE_ROWS = 200;
/** A watch is asked anew after this, whatever it says: a connection may hang unnoticed. */
const WATCH_MS = 10_000;
/** Between looks at a watched key while etcd does not answer, or keeps breaking off. */
const WATCH_PAUSE_MS = 100;

interface EtcdLook extends Look {
  /** Of the whole store, at that moment. */
  readonly revision: number;
}

export class EtcdRegistry implements SealableRegistry {
  readonly #calls: GenerationCalls;
  readonly #kv: EtcdKv;
  readonly #env: Env;
  readonly #prefix: string;
  readonly #key: Uint8Array;

  constructor(place: EtcdPlace, calls: GenerationCalls = new EtcdGeneration(place)) {
    const { kv, env, metadataKey, generation } = place;
    this.#calls = calls;
    this.#kv = kv;
    this.#env = env;
    this.#prefix = registryPrefix(place);
    this.#key = deriveKey(metadataKey, `holdfast/1 registry ${generation}`);
  }

  #rowKey(key: string): Uint8Array {
    return utf8(this.#prefix + key);
  }

  /** @throws HF_FORGED when the value was not sealed for this key. */
  #opened(row: EtcdRow, versionBase: number): Versioned {
    const value = openRecord({ key: this.#key, aad: row.key, sealed: row.value });
    const key = fromUtf8(row.key).slice(this.#prefix.length);
    return { key, version: versionBase + row.changedRevision, value };
  }

  async get(key: string): Promise<Versioned | undefined> {
    return (await this.#look(key)).row;
  }

  /** As of one moment. */
  async list(prefix: string): Promise<readonly Versioned[]> {
    return (await this.#copied(prefix)).rows;
  }

  /** All of it as of one moment, and a version that no row had then, or had before, is above. */
  async copied(): Promise<RegistryCopy> {
    const { version, rows } = await this.#copied('');
    return { version, rows: rows.filter(({ key }) => key !== SEAL_KEY) };
  }

  async #copied(prefix: string): Promise<RegistryCopy> {
    for (;;) {
      try {
        return await this.#copiedOnce(prefix);
      } catch (error) {
        // So much was changed meanwhile that etcd has let go of that moment.
        if (errorCode(error) !== 'HF_NOT_FOUND') throw error;
      }
    }
  }

  async #copiedOnce(prefix: string): Promise<RegistryCopy> {
    const end = endOfPrefix(this.#rowKey(prefix));
    const found: Versioned[] = [];
    let first: ResultInLife | undefined;
    for (let key = this.#rowKey(prefix); ;) {
      const atRevision = first?.revision ?? 0;
      const page = { do: 'get', key, end, limit: PAGE_ROWS, atRevision } as const;
      const result = await this.#calls.questionInLife([page]);
      const { answers, life } = result;
      first ??= result;
      if (life.revision !== first.life.revision) return await this.#copiedOnce(prefix);
      const versionBase = await this.#calls.versionBase(life);
      const rows = answers[0]?.rows ?? [];
      found.push(...rows.map((row) => this.#opened(row, versionBase)));
      const last = rows.at(-1);
      if (!last || rows.length < PAGE_ROWS) {
        return { version: versionBase + first.revision, rows: found };
      }
      key = keyAfter(last.key);
    }
  }

  async compareAndSet(
    key: string,
    expected: number,
    value: Uint8Array | undefined,
  ): Promise<number | undefined> {
    assert(expected >= 0, 'a version is not negative');
    assertNoSeal(key);
    const rowKey = this.#rowKey(key);
    const sealed = value && this.#sealed(rowKey, value);
    for (;;) {
      const life = await this.#calls.life();
      const base = await this.#calls.versionBase(life);
      if (expected > 0 && expected <= base) return undefined; // of an older generation or life
      const setting: EtcdTransaction = {
        conditions: [changedAt(rowKey, expected === 0 ? 0 : expected - base)],
        ifMet: [sealed ? { do: 'put', key: rowKey, value: sealed } : { do: 'delete', key: rowKey }],
        ifNot: [{ do: 'get', key: rowKey }],
      };
      const { areMet, revision, answers, isAfterDoubt } = await this.#calls.change(setting, life);
      if (areMet) return base + revision;
      const now = answers[0]?.rows[0];
      const isOld = (await this.#calls.life()).revision !== life.revision;
      if (isOld && !isAfterDoubt) continue; // as its version may be of the life that has begun
      if (!isOld && now && sealed && bytesEqual(now.value, sealed)) {
        return base + now.changedRevision;
      }
      if (!isAfterDoubt) return undefined;
      const message = `whether ${key} was set is not known: read it`;
      throw new HoldfastError('HF_UNKNOWN_OUTCOME', message);
    }
  }

  async seal(next: NextGeneration): Promise<void> {
    const key = this.#rowKey(SEAL_KEY);
    const value = this.#sealed(key, encodeSeal(next));
    const sealing = { conditions: [], ifMet: [{ do: 'put', key, value }], ifNot: [] } as const;
    try {
      let life = FIRST_LIFE; // when it is another one, the refusal tells which
      while (!(await this.#calls.change(sealing, life)).areMet) life = await this.#calls.life();
    } catch (error) {
      if (errorCode(error) !== 'HF_FENCED') throw error;
    }
    // It is sealed now; by whom, the row says.
    const seal = await this.get(SEAL_KEY);
    assert(seal, 'a seal stays');
    assertSealedTo(seal, next);
  }

  #sealed(rowKey: Uint8Array, value: Uint8Array): Uint8Array {
    const nonce = this.#env.random.bytes(NONCE_BYTES);
    return sealRecord({ key: this.#key, nonce, aad: rowKey, record: value });
  }

  /** See {@link statesOf}; a change is noticed at once. */
  watch(key: string, signal: AbortSignal): AsyncGenerator<Versioned | undefined> {
    return statesOf<EtcdLook>({
      look: async () => {
        try {
          return await this.#look(key);
        } catch (error) {
          if (errorCode(error) !== 'HF_UNAVAILABLE') throw error;
          return undefined;
        }
      },
      wait: async (seen) => {
        if (seen) await this.#changeOf(key, seen.revision, signal);
        await this.#env.clock.sleep(WATCH_PAUSE_MS, { signal }).catch(() => {}); // aborted
      },
      signal,
    });
  }

  async #look(key: string): Promise<EtcdLook> {
    const get = { do: 'get', key: this.#rowKey(key) } as const;
    const { answers, revision, life } = await this.#calls.questionInLife([get]);
    const versionBase = await this.#calls.versionBase(life);
    const row = answers[0]?.rows[0];
    return { row: row && this.#opened(row, versionBase), revision };
  }

  async #changeOf(key: string, since: number, signal: AbortSignal): Promise<void> {
    const looking = new AbortController();
    const until = AbortSignal.any([signal, looking.signal]);
    const late = this.#env.clock.sleep(WATCH_MS, { signal: until }).catch(() => {});
    void late.then(() => looking.abort());
    await this.#kv.change({ key: this.#rowKey(key) }, since, until);
    looking.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function keyAfter(key: Uint8Array): Uint8Array {
  return concatBytes(key, Uint8Array.of(0));
}
