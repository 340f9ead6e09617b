/**
 * Stale reads (stale-rows.ts) of the cells of the cluster: asked of the rows that this node has of
 * a cell, else of those of another member that answers, its steward first; and answered, for this
 * node and for others. Registry and logs are not asked: it works without them, by the cell maps
 * that are known.
 */
import { assert, errorCode, errorMessage, HoldfastError, type NodeId } from '../../base/index.ts';
import type { LocalDb, Row } from '../../db/index.ts';
import { type Env, within } from '../../env/index.ts';
import { callForBytes, type CellId } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import type { RowRange } from '../cells/cell-peers.ts';
import type { Executor } from '../cells/executor.ts';
import { slotOfKey } from '../cells/rows.ts';
import { circumstancesOf, namespaceOf } from '../namespace/namespace-cell.ts';
import { treeOf } from '../namespace/tree-cell.ts';
import { checked } from '../remote/cell-methods.ts';
import { encodeValue } from '../remote/wire-value.ts';
import type { Carrier } from './carrier.ts';
import { type CellClient, SILENCES } from './cell-client.ts';
import { type CellPlace, placeForSlot, type VersionedMap } from './cell-map.ts';
import type { CellMaps } from './cell-maps.ts';
import { HOSTED_TABLES, type HostedName, methodOf } from './hosted-tables.ts';
import {
  type CellCall,
  type CellName,
  decodeReply,
  encodeCall,
  HOSTING_SERVICE,
  type Reply,
} from './hosting-wire.ts';
import { checkAnswer } from './message-wire.ts';
import { perform } from './perform.ts';
import { type CellOperation, routedApi } from './routed.ts';
import { isWhole, StaleExecutor, staleRanges } from './stale-rows.ts';

/** How long one member is waited for. */
const PATIENCE_MS = 1000;

/** Interfaces that can be read so. */
export const STALE_NAMES = ['namespace', 'tree'] as const satisfies readonly HostedName[];
export type StaleName = (typeof STALE_NAMES)[number];

export interface StaleCellsOptions {
  readonly env: Env;
  readonly self: NodeId;
  readonly network: Pick<Network, 'call' | 'open' | 'links'>;
  readonly maps: CellMaps;
  readonly client: Pick<CellClient, 'stewardOf'>;
  readonly carrier: Carrier | undefined;
}

/** A read of one slot, or of what follows it in its cell. */
interface Question {
  readonly space: string;
  readonly slot: number;
  readonly here: (of: CellName, end: number) => Promise<Reply>;
  readonly there: (of: CellName, end: number) => { method: string; arg: Uint8Array };
  readonly understand: (value: unknown) => unknown;
}

export class StaleCells {
  readonly #options: StaleCellsOptions;

  constructor(options: StaleCellsOptions) {
    this.#options = options;
  }

  /** An interface whose reads are stale; its changes are not to be asked for. */
  api<Api>(name: StaleName, space: string): Api {
    const ask = (slot: number, operation: CellOperation, reachesOn: boolean) =>
      this.#operate(name, { space, slot, operation, reachesOn });
    return routedApi<Api>(HOSTED_TABLES[name].methods, {
      map: () => this.#map(space),
      toSlot: async (slot, operation) => (await ask(slot, operation, false)).value,
      fromSlot: (slot, operation) => ask(slot, operation, true),
      toCell: async () => assert(false, 'nothing is changed by what may be old'),
    });
  }

  /** A read at this node. @throws what the operation throws. */
  async operate(name: StaleName, method: string, call: CellCall): Promise<Reply> {
    const rows = this.#rows(call.cell);
    if (!rows) return { kind: 'elsewhere', steward: undefined };
    const fetch = (ranges: readonly RowRange[]) => this.#fetch(call.space, ranges);
    const apiOf = (executor: Executor): object => this.#apiOf(name, executor);
    return await perform(new StaleExecutor({ rows, fetch }), apiOf, { method, call });
  }

  /** Rows of a cell that this node has, for an operation elsewhere. */
  readRows({ cell }: CellName, { ranges }: { readonly ranges: readonly RowRange[] }): Reply {
    const rows = this.#rows(cell);
    if (!rows) return { kind: 'elsewhere', steward: undefined };
    try {
      return { kind: 'answer', value: staleRanges(rows, ranges) };
    } catch (error) {
      if (errorCode(error) !== 'HF_MOVED') throw error;
      return { kind: 'moved' };
    }
  }

  #rows(cell: CellId): LocalDb | undefined {
    const rows = this.#options.carrier?.get(cell)?.rows;
    return rows && isWhole(rows) ? rows : undefined;
  }

  #apiOf(name: StaleName, executor: Executor): object {
    const now = () => circumstancesOf(this.#options.env);
    return name === 'tree' ? treeOf(executor, now) : namespaceOf(executor, now);
  }

  async #operate(
    name: StaleName,
    about: { space: string; slot: number; operation: CellOperation; reachesOn: boolean },
  ): Promise<{ value: unknown; end: number }> {
    const { space, slot, operation, reachesOn } = about;
    const { method, args } = operation;
    assert(!operation.isChange, 'nothing is changed by what may be old');
    const { result } = methodOf(name, method);
    const callAt = (of: CellName, end: number): CellCall => {
      const range = reachesOn ? { from: slot, to: end } : undefined;
      return { ...of, slot, within: range, retry: undefined, args };
    };
    return await this.#ask({
      space,
      slot,
      here: (of, end) => this.operate(name, method, callAt(of, end)),
      there: (of, end) => ({
        method: `stale.${name}.${method}`,
        arg: encodeCall(callAt(of, end)),
      }),
      understand: (answer) => checked(result, answer),
    });
  }

  /** One question for each: rows of other cells are few, and asked for together where they lie. */
  async #fetch(space: string, ranges: readonly RowRange[]): Promise<readonly (readonly Row[])[]> {
    const map = await this.#map(space);
    const found: (readonly Row[])[] = [];
    const cellOf = ({ from }: RowRange): CellId => placeForSlot(map, slotOfKey(from)).place.cell;
    const byCell = Map.groupBy(ranges.entries(), ([, range]) => cellOf(range));
    for (const wanted of byCell.values()) {
      const request = { ranges: wanted.map(([, range]) => range) };
      const [first] = request.ranges;
      assert(first, 'a group is of something');
      const { value } = await this.#ask({
        space,
        slot: slotOfKey(first.from),
        here: async (of) => this.readRows(of, request),
        there: (of) => ({ method: 'stale.rows', arg: encodeValue({ ...of, request }) }),
        understand: (answer) => checkAnswer('readRows', answer),
      });
      const rows = value as readonly (readonly Row[])[];
      for (const [at, [index]] of wanted.entries()) found[index] = rows[at] ?? [];
    }
    return found;
  }

  /** @throws HF_UNAVAILABLE when nobody answers; what was thrown as the answer. */
  async #ask(question: Question): Promise<{ value: unknown; end: number }> {
    const { space, slot } = question;
    const map = await this.#map(space);
    const { place, end } = placeForSlot(map, slot);
    const elsewhere = placeForSlot(map, slot, place.cell);
    let reason = 'no member of the cell has it';
    const places = elsewhere.place === place ? [{ place, end }] : [{ place, end }, elsewhere];
    for (const at of places) {
      for (const node of this.#candidates(at.place)) {
        const reply = await this.#try(question, node, at).catch((error: unknown) => {
          if (!SILENCES.includes(errorCode(error))) throw error;
          reason = errorMessage(error);
          return undefined;
        });
        if (reply?.kind === 'answer') return { value: reply.value, end: at.end };
      }
    }
    throw new HoldfastError('HF_UNAVAILABLE', `nobody answers for ${space}: ${reason}`);
  }

  /** This node, then others: those first that there is a way to. */
  #candidates({ cell, members }: CellPlace): readonly NodeId[] {
    const { self, client, network } = this.#options;
    const linked = new Set(network.links().map(({ node }) => node));
    const steward = client.stewardOf(cell);
    const rank = (node: NodeId): number =>
      node === self ? 0 : Number(!linked.has(node)) * 2 + Number(node !== steward) + 1;
    return [...members].toSorted((a, b) => rank(a) - rank(b));
  }

  async #try(
    { space, here, there, understand }: Question,
    node: NodeId,
    { place: { cell }, end }: { readonly place: CellPlace; readonly end: number },
  ): Promise<Reply | undefined> {
    const { env, self, network } = this.#options;
    const of = { space, cell };
    if (node === self) return await within(env.clock, here(of, end), PATIENCE_MS);
    const { method, arg } = there(of, end);
    const call = { node, method: `${HOSTING_SERVICE}/${method}`, arg, deadlineMs: PATIENCE_MS };
    const reply = decodeReply(await callForBytes(network, call));
    return reply.kind === 'answer' ? { ...reply, value: understand(reply.value) } : reply;
  }

  /** As it is known: the registry may not answer. */
  async #map(space: string): Promise<VersionedMap> {
    const { maps, env } = this.#options;
    const map = maps.known(space) ?? (await within(env.clock, maps.refresh(space), PATIENCE_MS));
    if (map) return map;
    throw new HoldfastError('HF_UNAVAILABLE', 'it is not known which nodes carry the volume');
  }
}
