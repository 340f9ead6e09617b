/**
 * What this node does as a carrier of cells when it is asked: by itself, or by another node. Who
 * may ask was settled before.
 */
import { errorCode, HoldfastError, LIMITS, type NodeId } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import type { CellId } from '../../log/index.ts';
import type { CarriedCell } from './carried-cell.ts';
import type { Carrier } from './carrier.ts';
import type { CellClient } from './cell-client.ts';
import { placeOfCell } from './cell-map.ts';
import type { CellMaps } from './cell-maps.ts';
import { standingOf } from './cell-where.ts';
import type { HostedName } from './hosted-tables.ts';
import type { CellCall, CellName, Reply } from './hosting-wire.ts';
import { forgetOlder } from './kept-answers.ts';
import type { MessageName } from './message-wire.ts';
import { perform } from './perform.ts';
import type { Stewardship } from './stewardship.ts';

export interface LocalCellsOptions {
  readonly self: NodeId;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly maps: CellMaps;
  readonly client: CellClient;
  /** None on a node that carries nothing. */
  readonly carrier: Carrier | undefined;
}

const IN_DOUBT: readonly (string | undefined)[] = ['HF_UNKNOWN_OUTCOME', 'HF_INTERRUPTED'];
/** Why a cell could not be opened that somebody else may have seized. */
const NOT_NOW: readonly (string | undefined)[] = [
  ...IN_DOUBT,
  'HF_UNAVAILABLE',
  'HF_TIMEOUT',
  'HF_FENCED',
  'HF_NOT_STEWARD',
  'HF_CLOSED',
];
/** A request of a run that has ended may be on its way for so long: a call and its stream. */
const OLD_REQUESTS_MS = 6 * LIMITS.remoteCallMs;
const LATER: Reply = { kind: 'later', isInDoubt: false };

export class LocalCells {
  readonly #options: LocalCellsOptions;

  constructor(options: LocalCellsOptions) {
    this.#options = options;
  }

  /** @throws what the operation throws. */
  async operate(name: HostedName, method: string, call: CellCall): Promise<Reply> {
    const found = await this.#stewardOf(call);
    if ('kind' in found) return found;
    const apiOf = found.steward?.apis[name];
    if (!found.steward || !apiOf) return this.#elsewhere(call.cell);
    if (call.retry) this.#hear(found.steward, call.retry.session);
    return await perform(found.steward.cell, apiOf, { method, call });
  }

  /** A message of another cell. @throws what the cell answers with. */
  async message(name: MessageName, of: CellName, request: never): Promise<Reply> {
    const found = await this.#stewardOf(of);
    if ('kind' in found) return found;
    if (!found.steward) return this.#elsewhere(of.cell);
    try {
      return { kind: 'answer', value: await found.steward.cell.messages[name](request) };
    } catch (error) {
      const code = errorCode(error);
      if (code === 'HF_NOT_STEWARD') return this.#elsewhere(of.cell);
      if (code === 'HF_CLOSED') return LATER;
      if (IN_DOUBT.includes(code)) return { kind: 'later', isInDoubt: true };
      throw error;
    }
  }

  async view(of: CellName): Promise<Reply> {
    const { self, carrier } = this.#options;
    const steward = carrier?.get(of.cell)?.steward;
    if (!steward) return this.#elsewhere(of.cell); // nothing is opened for those who only look
    const value = standingOf(self, steward.cell.view(), carrier?.followers(of) ?? []);
    return { kind: 'answer', value };
  }

  /** It is this node's turn, says the steward that was. @returns whether this node is it now. */
  async take(of: CellName): Promise<boolean> {
    const { maps, carrier, self } = this.#options;
    const map = await maps.read(of.space);
    const isMember = placeOfCell(map, of.cell)?.members.includes(self);
    if (!carrier || !isMember || map.version === 0) return false;
    await carrier.take(of);
    return true;
  }

  /**
   * Follows the cell, which may come here.
   * @returns how far its rows have come. @throws HF_NOT_FOUND when there is no such cell.
   */
  async sync({ space, cell }: CellName): Promise<number> {
    const { maps, carrier } = this.#options;
    const map = await maps.read(space);
    if (!carrier || map.version === 0 || !placeOfCell(map, cell)) {
      throw new HoldfastError('HF_NOT_FOUND', `no cell ${cell} can come here`);
    }
    return await carrier.sync(space, cell);
  }

  /** The cell if it is here; opened when it is this node's alone. */
  async #stewardOf({ space, cell }: CellName): Promise<CarriedCell | Reply> {
    const { carrier, maps } = this.#options;
    const carried = carrier?.get(cell);
    if (carried?.steward) return carried;
    if (!carrier) return this.#elsewhere(cell);
    try {
      const known = await maps.of(space);
      if (known.version > 0) return this.#elsewhere(cell);
      // What is not recorded may have been recorded since.
      const map = await maps.read(space);
      const opened = map.version === 0 ? await carrier.openAlone(map, cell) : undefined;
      return opened ?? this.#elsewhere(cell);
    } catch (error) {
      if (!NOT_NOW.includes(errorCode(error))) throw error;
      return LATER;
    }
  }

  /**
   * A newer run of a node: what is kept for its older ones is of no more use, once what they asked
   * for can come no more. Does not wait.
   */
  #hear(steward: Stewardship, session: string): void {
    if (!steward.sessions.hear(session)) return;
    void this.#forgetOlder(steward, session).catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error; // else the next steward does it
    });
  }

  async #forgetOlder({ cell, signal }: Stewardship, session: string): Promise<void> {
    await this.#options.clock.sleep(OLD_REQUESTS_MS, { signal });
    await forgetOlder(cell, session, cell.view().slots);
  }

  #elsewhere(cell: CellId): Reply {
    const { carrier, client, self } = this.#options;
    const steward = carrier?.get(cell) ? carrier.pings.hint(cell) : client.stewardOf(cell);
    return { kind: 'elsewhere', steward: steward === self ? undefined : steward };
  }
}
