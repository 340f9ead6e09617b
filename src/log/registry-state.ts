/**
 * The state machine of a registry: keys, values, and one version that rises with each change of any
 * key. It is rebuilt by applying the same changes in the same order.
 *
 * A version is never below the epoch of its entry, and epochs go by the clock: so where a recovery
 * goes on from a log that lost its end, versions that were given out are not given again.
 */
import { assert, ByteReader, ByteWriter } from '../base/index.ts';
import type { Versioned } from './fenced-log.ts';
import {
  assertNoSeal,
  assertSealedTo,
  encodeSeal,
  type NextGeneration,
  type RegistryCopy,
  SEAL_KEY,
  sealedError,
} from './generations.ts';

/** Sets a key, or deletes it when there is no value. */
export interface RegistryChange {
  readonly key: string;
  readonly value: Uint8Array | undefined;
}

/** `key text | isPresent u8 | value bytes`. */
export function encodeChange({ key, value }: RegistryChange): Uint8Array {
  const writer = new ByteWriter().text(key).u8(value ? 1 : 0);
  if (value) writer.bytes(value);
  return writer.finish();
}

/** @throws HF_CORRUPT. */
export function decodeChange(bytes: Uint8Array): RegistryChange {
  const reader = new ByteReader(bytes, 'entry of the registry');
  const key = reader.text();
  const value = reader.u8() === 1 ? new Uint8Array(reader.bytes()) : undefined;
  reader.end();
  return { key, value };
}

export class RegistryState {
  readonly #rows = new Map<string, Versioned>();
  #version = 0;

  /** That of an older generation, to go on from. */
  static of({ version, rows }: RegistryCopy): RegistryState {
    const state = new RegistryState();
    for (const row of rows) {
      assert(row.version <= version, 'no version is above the last one');
      state.#rows.set(row.key, row);
    }
    state.#version = version;
    return state;
  }

  get isSealed(): boolean {
    return this.#rows.has(SEAL_KEY);
  }

  /**
   * What compare-and-set comes to; `undefined` when the key has another version.
   * @throws HF_FENCED when it is sealed; HF_DENIED.
   */
  proposed(change: RegistryChange, expected: number): RegistryChange | undefined {
    assert(expected >= 0, 'a version is not negative');
    assertNoSeal(change.key);
    if (this.isSealed) throw sealedError();
    if ((this.#rows.get(change.key)?.version ?? 0) !== expected) return undefined;
    return { key: change.key, value: change.value && new Uint8Array(change.value) };
  }

  /** `undefined` when it is sealed like this already. @throws HF_FENCED. */
  proposedSeal(next: NextGeneration): RegistryChange | undefined {
    const seal = this.#rows.get(SEAL_KEY);
    if (!seal) return { key: SEAL_KEY, value: encodeSeal(next) };
    assertSealedTo(seal, next);
    return undefined;
  }

  get(key: string): Versioned | undefined {
    const row = this.#rows.get(key);
    return row && { ...row, value: new Uint8Array(row.value) };
  }

  /** In the order of their keys. */
  list(prefix: string): Versioned[] {
    return [...this.#rows.keys()]
      .filter((key) => key.startsWith(prefix))
      .sort()
      .map((key) => this.get(key)!);
  }

  /** @param epoch of the entry. @returns the new version. */
  apply({ key, value }: RegistryChange, epoch: number): number {
    this.#version = Math.max(this.#version + 1, epoch);
    if (value) this.#rows.set(key, { key, version: this.#version, value });
    else this.#rows.delete(key);
    return this.#version;
  }

  /** `version u64 | row count u32 | (key text, version u64, value bytes) …`. */
  encode(): Uint8Array {
    const writer = new ByteWriter().u64(this.#version).u32(this.#rows.size);
    for (const { key, version, value } of this.#rows.values()) {
      writer.text(key).u64(version).bytes(value);
    }
    return writer.finish();
  }

  /** @throws HF_CORRUPT. */
  static decode(bytes: Uint8Array): RegistryState {
    const reader = new ByteReader(bytes, 'snapshot of the registry');
    const state = new RegistryState();
    state.#version = reader.u64();
    for (let count = reader.u32(); count > 0; count--) {
      const key = reader.text();
      const version = reader.u64();
      state.#rows.set(key, { key, version, value: new Uint8Array(reader.bytes()) });
    }
    reader.end();
    return state;
  }
}
