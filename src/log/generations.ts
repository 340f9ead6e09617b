/**
 * Generations. A log and a registry that belong together are one *generation* of the cluster's
 * metadata, on one engine. To change the engine, the old generation is *sealed*: it takes no change
 * any more, and says which one follows and where. The next one is a *draft* until all is copied.
 *
 * Invariants:
 * 1. A draft is opened only after the generation before is sealed: so one of them takes changes at
 *    most, and what the sealed one acknowledged is all in the next.
 * 2. Lsns and epochs of cells go on, and versions of registry rows rise, from one to the next.
 */
import { ByteReader, ByteWriter, HoldfastError } from '../base/index.ts';
import type { CellId, FencedLog, LogEntry, Registry, Snapshot, Versioned } from './fenced-log.ts';

/** The registry's row that says that it is sealed: the last that is ever set. */
export const SEAL_KEY = 'sealed';
const SEAL_VERSION = 1;

/** What a sealed generation says of the one that follows. */
export interface NextGeneration {
  readonly generation: number;
  /** For whoever opens it; not read here. */
  readonly where: string;
}

export interface SealableRegistry extends Registry {
  /**
   * From now on nothing is changed: neither the registry, nor a cell of the log beside it, whoever
   * asks (HF_FENCED). Again with the same `next` it does nothing.
   * @throws HF_FENCED when it was sealed for another one; HF_UNKNOWN_OUTCOME: seal again, whatever
   *   was to come between is refused meanwhile.
   */
  seal(next: NextGeneration): Promise<void>;
}

/** Which generation follows that of the registry; `undefined` while it is not sealed. */
export async function sealedTo(
  registry: Pick<Registry, 'get'>,
): Promise<NextGeneration | undefined> {
  const row = await registry.get(SEAL_KEY);
  return row && decodeSeal(row.value);
}

/** `version u8 (1) | generation u64 | where text`. */
export function encodeSeal({ generation, where }: NextGeneration): Uint8Array {
  return new ByteWriter().u8(SEAL_VERSION).u64(generation).text(where).finish();
}

/** @throws HF_CORRUPT. */
function decodeSeal(bytes: Uint8Array): NextGeneration {
  const reader = new ByteReader(bytes, 'seal of the registry');
  const version = reader.u8();
  if (version !== SEAL_VERSION) throw reader.corrupt(`version ${version} is not known`);
  const next = { generation: reader.u64(), where: reader.text() };
  reader.end();
  return next;
}

/** @throws HF_FENCED unless the row seals for that generation. */
export function assertSealedTo(row: Versioned, next: NextGeneration): void {
  const { generation, where } = decodeSeal(row.value);
  if (generation === next.generation && where === next.where) return;
  throw new HoldfastError('HF_FENCED', `it is sealed already, for generation ${generation}`);
}

export function sealedError(): HoldfastError {
  return new HoldfastError('HF_FENCED', 'this generation of the metadata is sealed');
}

/** The seal is set by `seal` only. @throws HF_DENIED. */
export function assertNoSeal(key: string): void {
  if (key === SEAL_KEY)
    throw new HoldfastError('HF_DENIED', 'the registry is not sealed like this');
}

/** What is copied of a cell: the snapshot, if there is one, and the entries after it. */
export interface CellCopy {
  /** Of a sealed log; later ones are above it. */
  readonly epoch: number;
  readonly snapshot: Snapshot | undefined;
  readonly entries: AsyncIterable<LogEntry>;
}

export interface RegistryCopy {
  /** No version was above it. */
  readonly version: number;
  /** Without the seal. */
  readonly rows: readonly Versioned[];
}

/** A generation that is being made. After a failure of any kind, `start` begins anew. */
export interface GenerationDraft {
  readonly generation: number;
  /**
   * Clears what an earlier try left, and takes the draft from whoever else is making it.
   * @returns false when the generation is open already: nothing was done.
   */
  start(): Promise<boolean>;
  /** @throws HF_FENCED when somebody else makes it meanwhile. */
  copyCell(cell: CellId, copy: CellCopy): Promise<void>;
  /** The last step: with its registry the generation is open. @throws HF_FENCED. */
  open(registry: RegistryCopy): Promise<void>;
}

export interface ChangeEngineOptions {
  /** Stay the caller's. */
  readonly from: { readonly log: FencedLog; readonly registry: SealableRegistry };
  readonly to: GenerationDraft;
  /** What the seal says of where the next generation is. */
  readonly where: string;
  /** All cells of the log but the registry's; asked when the registry does not change any more. */
  readonly cells: (registry: Pick<Registry, 'get' | 'list'>) => Promise<readonly CellId[]>;
}

/**
 * Moves the cluster's metadata to another engine. May be broken off anywhere and called again, by
 * anyone who reaches both; once it has returned the next generation is open.
 *
 * @throws HF_FENCED when the old generation was sealed for another one, or somebody else is making
 *   the next one just now; what the engines throw.
 */
export async function changeEngine({ from, to, where, cells }: ChangeEngineOptions): Promise<void> {
  if (!(await to.start())) return;
  await from.registry.seal({ generation: to.generation, where });
  for (const cell of await cells(from.registry)) await copyCell(from.log, to, cell);
  const rows = await from.registry.list('');
  const seal = rows.find(({ key }) => key === SEAL_KEY);
  if (!seal) throw new HoldfastError('HF_CORRUPT', 'the registry was sealed, and does not say so');
  await to.open({ version: seal.version, rows: rows.filter((row) => row !== seal) });
}

async function copyCell(log: FencedLog, to: GenerationDraft, cell: CellId): Promise<void> {
  const head = await log.head(cell);
  const snapshot = await log.loadSnapshot(cell);
  const first = (snapshot?.lsn ?? 0) + 1;
  async function* entries(): AsyncGenerator<LogEntry> {
    let next = first;
    for await (const entry of log.read(cell, first)) {
      if (entry.lsn !== next++) break;
      yield entry;
    }
    if (next === head.lsn + 1) return;
    throw new HoldfastError('HF_CORRUPT', `log of cell ${cell}: entry ${next} cannot be copied`);
  }
  await to.copyCell(cell, { epoch: head.epoch, snapshot, entries: entries() });
}
