/**
 * A cell's part in transactions that others coordinate: it holds what they have read and will write
 * (a durable *intent*) until it hears what has become of them, and asks when it hears nothing.
 *
 *   prepare ─→ intent ─ apply(token) ─→ rows
 *                │ └─── abort ───────→ nothing
 *                └ status: committed → rows; aborted → nothing; pending → asks again
 */
import {
  assert,
  bytesEqual,
  errorCode,
  HoldfastError,
  keyText,
  LIMITS,
  mapBounded,
} from '../../../base/index.ts';
import type { Row } from '../../../db/index.ts';
import type { PrepareRequest, RangeRead, RowRange, Txid } from '../cell-peers.ts';
import { holderOf } from '../cell-state.ts';
import { digestOfRows } from '../entries.ts';
import { type Scratch } from '../overlay.ts';
import { slotOfKey } from '../rows.ts';
import { type CellCore, executeGuarded, executeUnguarded } from './cell-core.ts';
import { decodeIntent, encodeIntent, type Intent, intentKey } from './transaction-rows.ts';

const TOKEN_BYTES = 16;
/** Questions about intents under way. */
const ASKED_AT_ONCE = 16;

export class Participant {
  readonly #core: CellCore;

  constructor(core: CellCore) {
    this.#core = core;
  }

  async readRows(ranges: readonly RowRange[]): Promise<readonly (readonly Row[])[]> {
    return await executeGuarded(this.#core, (rows) =>
      ranges.map((range) => {
        rows.requireSlot(slotOfKey(range.from));
        return rows.range(rangeOptions(range));
      }),
    );
  }

  async prepare(request: PrepareRequest): Promise<{ readonly token: Uint8Array } | 'busy'> {
    const token = this.#core.env.random.bytes(TOKEN_BYTES);
    return await executeUnguarded(this.#core, (rows) => this.#prepare(rows, request, token));
  }

  #prepare(
    rows: Scratch,
    { txid, reads, changes }: PrepareRequest,
    token: Uint8Array,
  ): { readonly token: Uint8Array } | 'busy' {
    const { state, fault } = this.#core;
    const key = intentKey(txid);
    const held = state.intentOf(keyText(key));
    if (held) return { token: held.token };
    if (!this.#isFree([...reads.map(({ from }) => from), ...changes.map((c) => c.key)])) {
      return 'busy';
    }
    const intent: Intent = { txid, token, reads, changes };
    if (state.locks.against(holderOf(intent, fault))) return 'busy';
    if (!reads.every((read) => isAsRead(rows, read))) return 'busy';
    if (fault === 'volatile-intent') state.hold(keyText(key), intent);
    else rows.put(key, encodeIntent(intent));
    return { token };
  }

  /** Whether no key is on its way elsewhere. @throws HF_MOVED when one is elsewhere. */
  #isFree(keys: readonly Uint8Array[]): boolean {
    const { slots, outgoing } = this.#core.state;
    let isFree = true;
    for (const key of keys) {
      const slot = slotOfKey(key);
      if (slot < slots.from || slot >= slots.to) throw new HoldfastError('HF_MOVED');
      if (outgoing && slot >= outgoing.slots.from && slot < outgoing.slots.to) isFree = false;
    }
    return isFree;
  }

  async apply(txid: Txid, token: Uint8Array): Promise<void> {
    await this.#settle(txid, (intent) => {
      const isOfToken = this.#core.fault === 'no-intent-token' || bytesEqual(intent.token, token);
      return isOfToken ? 'committed' : 'other';
    });
  }

  async abort(txid: Txid): Promise<void> {
    await this.#settle(txid, () => 'aborted');
  }

  async #settle(
    txid: Txid,
    decide: (intent: Intent) => 'committed' | 'aborted' | 'other',
  ): Promise<void> {
    const { state, fault } = this.#core;
    const key = intentKey(txid);
    await executeUnguarded(this.#core, (rows) => {
      const intent =
        fault === 'volatile-intent' ? state.intentOf(keyText(key)) : intentAt(rows, key);
      const decision = intent && decide(intent);
      if (!intent || decision === 'other') return;
      if (decision === 'committed') for (const change of intent.changes) rows.set(change);
      if (fault === 'volatile-intent') state.letGo(keyText(key));
      else rows.delete(key);
    });
  }

  /** Asks about intents that nobody has settled, until the cell serves no more. */
  async run(): Promise<void> {
    const { env, state, signal } = this.#core;
    const tickMs = LIMITS.intentPatienceMs / 2;
    for await (const _ of env.clock.every(tickMs, { signal })) {
      const sinceMs = env.clock.monotonic() - LIMITS.intentPatienceMs;
      if (!state.hasIntents) continue;
      const old = state.intents.filter((held) => held.sinceMs <= sinceMs);
      await mapBounded(old, ASKED_AT_ONCE, async ({ intent }) => {
        try {
          await this.#resolve(intent);
        } catch (error) {
          assert(errorCode(error) !== undefined, 'an error of ours');
          env.log.debug('an intent stays open', { cell: this.#core.cell, error });
        }
      });
    }
  }

  async #resolve({ txid, token }: Intent): Promise<void> {
    const { peers, cell } = this.#core;
    const answer = await peers.ofCell(txid.cell).status({ txid, participant: cell });
    if (answer.state === 'pending') return;
    await this.#settle(txid, (intent) => {
      if (!bytesEqual(intent.token, token)) return 'other'; // asked about another one
      if (answer.state !== 'committed') return 'aborted';
      const isOfToken =
        this.#core.fault === 'no-intent-token' || bytesEqual(answer.token, intent.token);
      return isOfToken ? 'committed' : 'aborted';
    });
  }
}

function intentAt(rows: Scratch, key: Uint8Array): Intent | undefined {
  const value = rows.get(key);
  return value && decodeIntent(key, value);
}

function isAsRead(rows: Scratch, { from, to, digest }: RangeRead): boolean {
  return digestOfRows(rows.range({ from, to })) === digest;
}

/** Without what is `undefined`, as the database wants it. */
function rangeOptions({ from, to, limit, isReverse }: RowRange): {
  from: Uint8Array;
  to: Uint8Array;
  limit?: number;
  isReverse?: boolean;
} {
  return {
    from,
    to,
    ...(limit === undefined ? {} : { limit }),
    ...(isReverse === undefined ? {} : { isReverse }),
  };
}
