/**
 * One generation in etcd: what its log and its registry share. Every change of either goes through
 * here, and requires that the generation is not sealed; nothing is asked of one that is not open.
 *
 *     <prefix>generation      state u8 (0 draft, 1 open) | version base u64
 *     <prefix>registry/...    rows of the registry; `sealed` seals all
 *     <prefix>log/...         cells
 *
 * Generation 1 is open from the start and has no such key, its version base is 0. Versions of
 * registry rows are the base plus etcd's revision.
 */
import { ByteReader, ByteWriter, HoldfastError, utf8 } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { isAbsent } from './etcd-keys.ts';
import { EtcdCalls, type EtcdKv, type EtcdOutcome } from './etcd-kv.ts';
import type {
  EtcdAnswer,
  EtcdCondition,
  EtcdOperation,
  EtcdResult,
  EtcdRow,
  EtcdTransaction,
} from './etcd-messages.ts';
import { SEAL_KEY, sealedError } from './generations.ts';

const DRAFT = 0;
const OPEN = 1;

/** Where the engine `etcd` keeps what it keeps. */
export interface EtcdPlace {
  /** Stays the caller's. */
  readonly kv: EtcdKv;
  /** Of all keys, ends in '/'; another one for each cluster and generation (ruling 17). */
  readonly prefix: string;
  /** 32 bytes. */
  readonly metadataKey: Uint8Array;
  /** Of the registry, from 1; rises when the engine is changed. */
  readonly generation: number;
  readonly env: Env;
  /** How long attempts go on; by default three deadlines. */
  readonly patienceMs?: number | undefined;
}

export function stateKey({ prefix }: EtcdPlace): Uint8Array {
  return utf8(`${prefix}generation`);
}

export function registryPrefix({ prefix }: EtcdPlace): string {
  return `${prefix}registry/`;
}

export interface GenerationState {
  readonly isOpen: boolean;
  readonly versionBase: number;
}

export function encodeState({ isOpen, versionBase }: GenerationState): Uint8Array {
  return new ByteWriter(9)
    .u8(isOpen ? OPEN : DRAFT)
    .u64(versionBase)
    .finish();
}

/** A generation that does not exist is no more open than a draft. @throws HF_CORRUPT. */
export function stateIn(answer: EtcdAnswer | undefined): GenerationState {
  const row = answer?.rows[0];
  if (!row) return { isOpen: false, versionBase: 0 };
  const reader = new ByteReader(row.value, 'generation in etcd');
  const state = { isOpen: reader.u8() === OPEN, versionBase: reader.u64() };
  reader.end();
  return state;
}

/** How a log and a registry reach their generation. Errors as of {@link EtcdCalls}. */
export interface GenerationCalls {
  /** Of registry rows. @throws HF_UNAVAILABLE while the generation is not open. */
  versionBase(): Promise<number>;
  question(operations: readonly EtcdOperation[]): Promise<EtcdResult>;
  /** @throws HF_FENCED when the generation takes no change any more, and nothing was done. */
  change(transaction: EtcdTransaction): Promise<EtcdOutcome>;
}

/** Changes that all require one condition more. */
export interface EtcdGuard {
  readonly condition: EtcdCondition;
  /** What its key has. @throws HF_FENCED when that tells that nothing was done. */
  readonly refuse: (row: EtcdRow | undefined, outcome: EtcdOutcome) => void;
}

export async function guardedChange(
  calls: EtcdCalls,
  { conditions, ifMet, ifNot }: EtcdTransaction,
  { condition, refuse }: EtcdGuard,
): Promise<EtcdOutcome> {
  const outcome = await calls.change({
    conditions: [...conditions, condition],
    ifMet,
    ifNot: [...ifNot, { do: 'get', key: condition.key }],
  });
  if (outcome.areMet) return outcome;
  refuse(outcome.answers.at(-1)?.rows[0], outcome);
  return { ...outcome, answers: outcome.answers.slice(0, -1) };
}

/** A generation that is open. */
export class EtcdGeneration implements GenerationCalls {
  readonly #calls: EtcdCalls;
  readonly #generation: number;
  readonly #stateKey: Uint8Array;
  readonly #guard: EtcdGuard;
  /** Known once it was seen open: it stays so. */
  #versionBase: number | undefined;

  constructor(place: EtcdPlace) {
    this.#calls = callsOf(place);
    this.#generation = place.generation;
    this.#stateKey = stateKey(place);
    this.#guard = {
      condition: isAbsent(utf8(registryPrefix(place) + SEAL_KEY)),
      refuse: (seal, { isAfterDoubt }) => {
        if (seal && !isAfterDoubt) throw sealedError();
      },
    };
    if (place.generation === 1) this.#versionBase = 0;
  }

  async versionBase(): Promise<number> {
    if (this.#versionBase === undefined) {
      const { answers } = await this.#calls.question([{ do: 'get', key: this.#stateKey }]);
      const { isOpen, versionBase } = stateIn(answers[0]);
      if (!isOpen) {
        const message = `generation ${this.#generation} of the metadata is not made yet`;
        throw new HoldfastError('HF_UNAVAILABLE', message);
      }
      this.#versionBase = versionBase;
    }
    return this.#versionBase;
  }

  async question(operations: readonly EtcdOperation[]): Promise<EtcdResult> {
    if (this.#versionBase === undefined) await this.versionBase();
    return await this.#calls.question(operations);
  }

  async change(transaction: EtcdTransaction): Promise<EtcdOutcome> {
    if (this.#versionBase === undefined) await this.versionBase();
    return await guardedChange(this.#calls, transaction, this.#guard);
  }
}

export function callsOf({ kv, env, patienceMs }: EtcdPlace): EtcdCalls {
  return new EtcdCalls({ kv, clock: env.clock, patienceMs });
}
