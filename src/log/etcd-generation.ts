/**
 * One generation in etcd: what its log and its registry share. Every change of either goes through
 * here, and requires that the generation is not sealed; nothing is asked of one that is not open.
 *
 *     <prefix>generation      state u8 (0 draft, 1 open) | version base u64
 *     <prefix>registry/...    rows of the registry; `sealed` seals all
 *     <prefix>log/...         cells
 *
 * Generation 1 is open from the start and has no such key, its version base is 0. Versions of
 * registry rows are the base, plus what the etcd's lives leap (etcd-life.ts), plus its revision.
 */
import { ByteReader, ByteWriter, HoldfastError, utf8 } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { isAbsent } from './etcd-keys.ts';
import { EtcdCalls, type EtcdKv, type EtcdOutcome } from './etcd-kv.ts';
import { askLife, type EtcdLife, isLife, lifeIn, versionsBefore } from './etcd-life.ts';
import type {
  EtcdAnswer,
  EtcdCondition,
  EtcdOperation,
  EtcdResult,
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

/** What was read, and in which life of the etcd. */
export interface ResultInLife extends EtcdResult {
  readonly life: EtcdLife;
}

/** How a log and a registry reach their generation. Errors as of {@link EtcdCalls}. */
export interface GenerationCalls {
  /** Of registry rows in that life. @throws HF_UNAVAILABLE while the generation is not open. */
  versionBase(life: EtcdLife): Promise<number>;
  /** The one that this process knows; a change that requires it finds out whether it lasts. */
  life(): Promise<EtcdLife>;
  question(operations: readonly EtcdOperation[]): Promise<EtcdResult>;
  questionInLife(operations: readonly EtcdOperation[]): Promise<ResultInLife>;
  /** The same; no answers from a generation that is sealed at that moment. */
  questionUnlessSealed(operations: readonly EtcdOperation[]): Promise<ResultInLife | undefined>;
  /**
   * @param life in which its conditions were learnt; in another one they are not met.
   * @throws HF_FENCED when the generation takes no change any more, and nothing was done.
   */
  change(transaction: EtcdTransaction, life: EtcdLife): Promise<EtcdOutcome>;
}

/** Conditions that all changes require besides. */
export interface EtcdGuard {
  readonly conditions: readonly EtcdCondition[];
  /** What their keys have. @throws HF_FENCED when that tells that nothing was done. */
  readonly refuse: (answers: readonly EtcdAnswer[], outcome: EtcdOutcome) => void;
}

export async function guardedChange(
  calls: EtcdCalls,
  { conditions, ifMet, ifNot }: EtcdTransaction,
  guard: EtcdGuard,
): Promise<EtcdOutcome> {
  const outcome = await calls.change({
    conditions: [...conditions, ...guard.conditions],
    ifMet,
    ifNot: [...ifNot, ...guard.conditions.map(({ key }) => ({ do: 'get', key }) as const)],
  });
  if (outcome.areMet) return outcome;
  guard.refuse(outcome.answers.slice(ifNot.length), outcome);
  return { ...outcome, answers: outcome.answers.slice(0, ifNot.length) };
}

/** The same question, and in which life it was answered. */
export async function askInLife(
  calls: EtcdCalls,
  operations: readonly EtcdOperation[],
): Promise<ResultInLife> {
  const { answers, ...rest } = await calls.question([...operations, askLife()]);
  return { ...rest, answers: answers.slice(0, -1), life: lifeIn(answers.at(-1)) };
}

/** A generation that is open. */
export class EtcdGeneration implements GenerationCalls {
  readonly #calls: EtcdCalls;
  readonly #generation: number;
  readonly #stateKey: Uint8Array;
  readonly #isUnsealed: EtcdCondition;
  /** Known once it was seen open: it stays so. */
  #versionBase: number | undefined;
  #life: EtcdLife | undefined;

  constructor(place: EtcdPlace) {
    this.#calls = callsOf(place);
    this.#generation = place.generation;
    this.#stateKey = stateKey(place);
    this.#isUnsealed = isAbsent(utf8(registryPrefix(place) + SEAL_KEY));
    if (place.generation === 1) this.#versionBase = 0;
  }

  async versionBase(life: EtcdLife): Promise<number> {
    if (this.#versionBase === undefined) await this.#open();
    return this.#versionBase! + versionsBefore(life);
  }

  async life(): Promise<EtcdLife> {
    return this.#life ?? (await this.questionInLife([])).life;
  }

  async #open(): Promise<void> {
    const { answers } = await this.#calls.question([{ do: 'get', key: this.#stateKey }]);
    const { isOpen, versionBase } = stateIn(answers[0]);
    if (!isOpen) {
      const message = `generation ${this.#generation} of the metadata is not made yet`;
      throw new HoldfastError('HF_UNAVAILABLE', message);
    }
    this.#versionBase = versionBase;
  }

  async question(operations: readonly EtcdOperation[]): Promise<EtcdResult> {
    if (this.#versionBase === undefined) await this.#open();
    return await this.#calls.question(operations);
  }

  async questionInLife(operations: readonly EtcdOperation[]): Promise<ResultInLife> {
    if (this.#versionBase === undefined) await this.#open();
    const result = await askInLife(this.#calls, operations);
    this.#life = result.life;
    return result;
  }

  async questionUnlessSealed(
    operations: readonly EtcdOperation[],
  ): Promise<ResultInLife | undefined> {
    const seal = { do: 'get', key: this.#isUnsealed.key } as const;
    const { answers, ...rest } = await this.questionInLife([...operations, seal]);
    if (answers.at(-1)?.rows[0]) return undefined;
    return { ...rest, answers: answers.slice(0, -1) };
  }

  async change(transaction: EtcdTransaction, life: EtcdLife): Promise<EtcdOutcome> {
    if (this.#versionBase === undefined) await this.#open();
    return await guardedChange(this.#calls, transaction, {
      conditions: [this.#isUnsealed, isLife(life)],
      refuse: ([seal, now], { isAfterDoubt }) => {
        this.#life = lifeIn(now);
        if (seal?.rows[0] && !isAfterDoubt) throw sealedError();
      },
    });
  }
}

export function callsOf({ kv, env, patienceMs }: EtcdPlace): EtcdCalls {
  return new EtcdCalls({ kv, clock: env.clock, patienceMs });
}
