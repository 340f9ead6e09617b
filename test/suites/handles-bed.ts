/** A cell of a volume with the handles of its steward, over memory engines and virtual time. */
import { HoldfastError } from '../../src/base/index.ts';
import { MemoryDb } from '../../src/db/index.ts';
import type { Env } from '../../src/env/index.ts';
import { MemoryLog } from '../../src/log/index.ts';
import {
  Cell,
  type CellPeers,
  type Handles,
  handlesOf,
  HandleTable,
  type HandleTableOptions,
  type Inode,
  type LockKind,
  type LockRequest,
  makeRoot,
  type SlotRange,
} from '../../src/meta/index.ts';
import { virtualEnv } from './virtual-env.ts';

/** The cell has all slots. */
const NO_PEERS: CellPeers = {
  cellOfSlot: () => 'v',
  ofCell: () => {
    throw new HoldfastError('HF_UNAVAILABLE');
  },
};

export interface HandlesBed extends AsyncDisposable {
  readonly env: Env;
  readonly log: MemoryLog;
  readonly steward: Cell;
  readonly table: HandleTable;
  readonly handles: Handles;
  /** Sleeps, and ticks as the steward's loop would. */
  pass(ms: number): Promise<void>;
}

interface Where {
  /** Of a new cell; else it has all. */
  readonly slots?: SlotRange;
  /** What the table sees as slots of the cell, where that changes. */
  readonly moved?: { slots?: SlotRange };
}

export async function handlesBed(
  parts: Partial<Pick<HandlesBed, 'env' | 'log'>> &
    Pick<HandleTableOptions, 'onClosed'> &
    Where = {},
): Promise<HandlesBed> {
  const { env = virtualEnv(1), log = new MemoryLog(), slots } = parts;
  const steward = await Cell.open({
    env,
    cell: 'v',
    log,
    db: new MemoryDb(),
    peers: NO_PEERS,
    slots,
  });
  await steward.execute((rows) => makeRoot(rows, { salt: new Uint8Array(16), nowMs: 0 }));
  const view = () => ({ ...steward.view(), ...parts.moved });
  const table = new HandleTable({ env, executor: steward, view, onClosed: parts.onClosed });
  const handles = handlesOf(steward, { table, clock: env.clock });
  return {
    env,
    log,
    steward,
    table,
    handles,
    async pass(ms) {
      for (let left = ms; left > 0; left -= 1000) {
        await env.clock.sleep(Math.min(left, 1000));
        await table.tick();
      }
    },
    [Symbol.asyncDispose]: () => steward[Symbol.asyncDispose](),
  };
}

/** A session's id. */
export function sessionOf(index: number): string {
  return index.toString(16).padStart(32, '0');
}

export interface LockCall {
  readonly session?: number;
  readonly owner: number;
  readonly inode?: Inode;
  readonly kind?: LockKind;
  readonly range?: readonly [number, number];
  readonly isExclusive?: boolean;
}

export function lockOf(call: LockCall): LockRequest {
  const [start, end] = call.range ?? [0, 10];
  return {
    session: sessionOf(call.session ?? 1),
    owner: BigInt(call.owner),
    inode: call.inode ?? 5n,
    kind: call.kind ?? 'posix',
    start: BigInt(start),
    end: BigInt(end),
    isExclusive: call.isExclusive ?? true,
    processId: 100 + call.owner,
  };
}

/** Waits for as long as it takes, as a mount does. */
export async function lockAndWait(handles: Handles, request: LockRequest): Promise<string> {
  for (;;) {
    const { state } = await handles.lock({ ...request, waits: true });
    if (state !== 'waiting') return state;
    let outcome = await handles.awaitLock(request, 800);
    while (outcome === 'waiting') outcome = await handles.awaitLock(request, 800);
    if (outcome !== 'gone') return outcome;
  }
}
