/**
 * One space as this node asks it: operations for the cells of slots, with a retry tag each when
 * they change something, and messages from one of its cells to another.
 */
import { errorCode, unlessBug } from '../../base/index.ts';
import type { CellId } from '../../log/index.ts';
import type { CellMessages, CellPeers } from '../cells/cell-peers.ts';
import type { RetryTag } from '../cells/executor.ts';
import { checked } from '../remote/cell-methods.ts';
import { encodeValue } from '../remote/wire-value.ts';
import { type CellClient, OPERATION_MS } from './cell-client.ts';
import { type CellPlace, placeForSlot, placeOfCell, type VersionedMap } from './cell-map.ts';
import type { CellMaps } from './cell-maps.ts';
import { type HostedName, methodOf } from './hosted-tables.ts';
import { type CellCall, encodeCall } from './hosting-wire.ts';
import type { Lanes } from './lanes.ts';
import type { LocalCells } from './local-cells.ts';
import { checkAnswer, MESSAGE_MS, MESSAGE_NAMES, type MessageName } from './message-wire.ts';
import type { CellOperation, RoutedSpace } from './routed.ts';

export interface SpaceClientOptions {
  readonly space: string;
  readonly maps: CellMaps;
  readonly client: CellClient;
  readonly local: LocalCells;
  readonly lanes: Lanes;
}

/** What an operation is about: a slot, with what follows it in its cell or alone; or a cell. */
type Target =
  | { readonly slot: number; readonly reachesOn: boolean }
  | { readonly cell: CellId; readonly slot?: undefined };

export class SpaceClient {
  readonly #options: SpaceClientOptions;

  constructor(options: SpaceClientOptions) {
    this.#options = options;
  }

  /** As the operations of one interface are routed. */
  routed(name: HostedName): RoutedSpace {
    const { maps, space } = this.#options;
    const ask = (target: Target, operation: CellOperation) =>
      this.#operate(name, target, operation);
    return {
      map: ({ isNewest }) => (isNewest ? maps.read(space) : maps.of(space)),
      toSlot: async (slot, operation) => (await ask({ slot, reachesOn: false }, operation)).value,
      fromSlot: (slot, operation) => ask({ slot, reachesOn: true }, operation),
      toCell: async (cell, operation) => (await ask({ cell }, operation)).value,
    };
  }

  /** As a cell of the space that is carried here reaches the others. */
  peersOf(self: CellId): CellPeers {
    const { maps, space } = this.#options;
    return {
      cellOfSlot: (slot) => {
        const map = maps.known(space);
        // It asks about slots that are not its own, whatever the map says.
        const cell = map ? placeForSlot(map, slot, self).place.cell : self;
        if (cell === self) void maps.refresh(space).catch(unlessBug);
        return cell;
      },
      ofCell: (cell) => this.#messages(cell),
    };
  }

  async #operate(
    name: HostedName,
    target: Target,
    operation: CellOperation,
  ): Promise<{ value: unknown; end: number }> {
    const { isNamed = false } = methodOf(name, operation.method);
    // What goes to whole cells does no harm when it is done twice.
    const mayComeTwice = !operation.isChange || isNamed || target.slot === undefined;
    if (mayComeTwice) {
      return await this.#ask(name, { target, operation, retry: undefined });
    }
    return await this.#options.lanes.run((retry) => this.#ask(name, { target, operation, retry }));
  }

  async #ask(
    name: HostedName,
    request: { target: Target; operation: CellOperation; retry: RetryTag | undefined },
  ): Promise<{ value: unknown; end: number }> {
    const { space, client, local } = this.#options;
    const { target, operation, retry } = request;
    const { result } = methodOf(name, operation.method);
    let end = 0;
    const callAt = ({ cell }: CellPlace): CellCall => {
      const { slot } = target;
      const within = slot !== undefined && target.reachesOn ? { from: slot, to: end } : undefined;
      return { space, cell, slot, within, retry, args: operation.args };
    };
    const { value } = await client.ask({
      space,
      isChange: operation.isChange,
      deadlineMs: OPERATION_MS,
      placeOf: (map, movedFrom) => {
        const found = placeOfTarget(map, target, movedFrom);
        end = found.end;
        return found.place;
      },
      here: (place) => local.operate(name, operation.method, callAt(place)),
      there: (place) => ({
        method: `${name}.${operation.method}`,
        arg: encodeCall(callAt(place)),
      }),
      understand: (answer) => checked(result, answer),
    });
    return { value, end };
  }

  #messages(cell: CellId): CellMessages {
    const messages = MESSAGE_NAMES.map((name) => [
      name,
      (request: never) => this.#message(name, cell, request),
    ]);
    return Object.fromEntries(messages) as CellMessages;
  }

  async #message(name: MessageName, cell: CellId, request: never): Promise<unknown> {
    const { space, client, local, maps } = this.#options;
    try {
      const { value } = await client.ask({
        space,
        isChange: true,
        deadlineMs: MESSAGE_MS,
        placeOf: (map) => placeOfTarget(map, { cell }, undefined).place,
        here: () => local.message(name, { space, cell }, request),
        there: () => ({
          method: `message.${name}`,
          arg: encodeValue({ space, cell, request }),
        }),
        understand: (answer) => checkAnswer(name, answer),
      });
      return value;
    } catch (error) {
      if (errorCode(error) === 'HF_MOVED') void maps.refresh(space).catch(unlessBug);
      throw error;
    }
  }
}

function placeOfTarget(
  map: VersionedMap,
  target: Target,
  movedFrom: CellId | undefined,
): { place: CellPlace; end: number } {
  if (target.slot !== undefined) return placeForSlot(map, target.slot, movedFrom);
  const place = placeOfCell(map, target.cell);
  // One that is not in the map is asked at those that have the first; they know more, or nothing.
  return { place: place ?? { ...(map.cells[0] as CellPlace), cell: target.cell }, end: 0 };
}
