/**
 * Answers other nodes' operations on the cells of which this node is the steward. Only members that
 * hold a volume may ask about it (ruling 3). Arguments are checked before a cell sees them: what a
 * cell asserts of its callers, a peer must not be able to break.
 */
import { HoldfastError, type NodeId } from '../../base/index.ts';
import { answerCalls, type CallHandlers } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import type { References } from '../references/references.ts';
import { REFERENCE_METHODS } from '../references/references-wire.ts';
import {
  type AnyMethods,
  anyMethods,
  DOOR_NAMES,
  VOLUME_TABLES,
  type VolumeDoors,
} from '../volume-cell/volume-tables.ts';
import { checked } from './cell-methods.ts';
import { REFERENCES_SERVICE } from './remote-cells.ts';
import { decodeValue, encodeValue } from './wire-value.ts';

export interface ServeVolumesOptions {
  /** The doors of a volume; `undefined` when this node is not its steward. */
  readonly volumeOf: (volume: string) => VolumeDoors | undefined;
  /** Whether a node holds the volume. */
  readonly mayServe: (from: NodeId, volume: string) => boolean;
}

export interface ServeReferencesOptions {
  /** `undefined` when this node is not the steward. */
  readonly references: () => References | undefined;
  /** Whether a node may ask this; the arguments are not checked yet. */
  readonly mayAsk: (from: NodeId, method: string, args: readonly unknown[]) => boolean;
}

/** In each request the volume stands before the arguments. */
export function serveVolumes(
  network: Pick<Network, 'handle'>,
  { volumeOf, mayServe }: ServeVolumesOptions,
): void {
  for (const service of DOOR_NAMES) {
    answerCell(network, {
      service,
      methods: VOLUME_TABLES[service],
      find(from, [volume, ...args]) {
        if (typeof volume !== 'string') throw new HoldfastError('HF_BAD_ARGUMENT', 'no volume');
        if (!mayServe(from, volume)) throw denied();
        return { cell: volumeOf(volume)?.[service], args };
      },
    });
  }
}

export function serveReferences(
  network: Pick<Network, 'handle'>,
  { references, mayAsk }: ServeReferencesOptions,
): void {
  answerCell(network, {
    service: REFERENCES_SERVICE,
    methods: anyMethods(REFERENCE_METHODS),
    find(from, args, method) {
      if (!mayAsk(from, method, args)) throw denied();
      return { cell: references(), args };
    },
  });
}

interface ServedCell {
  readonly service: string;
  readonly methods: AnyMethods;
  /** The cell that is meant and what is left of the request. @throws HF_DENIED. */
  readonly find: (
    from: NodeId,
    request: unknown[],
    method: string,
  ) => { readonly cell: object | undefined; readonly args: unknown[] };
}

function answerCell(
  network: Pick<Network, 'handle'>,
  { service, methods, find }: ServedCell,
): void {
  const handlers = Object.entries(methods).map(([name, method]) => [
    name,
    async (request: Uint8Array, from: NodeId): Promise<Uint8Array> => {
      const parts = decodeValue(request);
      if (!Array.isArray(parts)) throw new HoldfastError('HF_BAD_ARGUMENT', 'no arguments');
      const { cell, args } = find(from, parts as unknown[], name);
      if (!cell) throw new HoldfastError('HF_UNAVAILABLE', 'this node is not the steward of that');
      const operation = (cell as Record<string, (...args: unknown[]) => Promise<unknown>>)[name]!;
      return encodeValue(await operation.apply(cell, checked(method.args, args)));
    },
  ]);
  answerCalls(network, service, Object.fromEntries(handlers) as CallHandlers);
}

function denied(): HoldfastError {
  return new HoldfastError('HF_DENIED', 'the volume is not granted to this node');
}
