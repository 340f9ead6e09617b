/**
 * The doors of a volume and the {@link References} of a steward on another node, with the same
 * contracts. Reads that got no answer are asked once more, and so are changes that are named; any
 * other change that got none is HF_UNKNOWN_OUTCOME.
 */
import { errorMessage, HoldfastError } from '../../base/index.ts';
import { RemoteCalls, type RemoteCallsOptions } from '../../log/index.ts';
import type { References } from '../references/references.ts';
import { REFERENCE_METHODS } from '../references/references-wire.ts';
import {
  type AnyMethods,
  anyMethods,
  type VolumeDoors,
  volumeDoors,
} from '../volume-cell/volume-tables.ts';
import { type AnyMethod, checked } from './cell-methods.ts';
import { decodeValue, encodeValue } from './wire-value.ts';

export const REFERENCES_SERVICE = 'references';

type RemoteCellOptions = Omit<RemoteCallsOptions, 'service'>;

/** The doors of a volume. The volume is as `serveVolumes` knows it there. */
export function remoteVolume(
  options: RemoteCellOptions & { readonly volume: string },
): VolumeDoors & AsyncDisposable {
  const { volume, ...where } = options;
  const all: RemoteCalls[] = [];
  const doors = volumeDoors((service, methods) => {
    const calls = new RemoteCalls({ ...where, service });
    all.push(calls);
    return remoteCell(calls, methods, [volume]);
  });
  const close = async (): Promise<void> => {
    for (const calls of all) calls.close();
  };
  return { ...doors, [Symbol.asyncDispose]: close };
}

export function remoteReferences(options: RemoteCellOptions): References {
  const calls = new RemoteCalls({ ...options, service: REFERENCES_SERVICE });
  return remoteCell<References>(calls, anyMethods(REFERENCE_METHODS), []);
}

/** @param before goes in front of the arguments of every call. */
function remoteCell<Api extends AsyncDisposable>(
  calls: RemoteCalls,
  methods: AnyMethods,
  before: readonly unknown[],
): Api {
  const operations = Object.entries(methods).map(([name, method]) => [
    name,
    async (...args: unknown[]): Promise<unknown> => {
      const request = encodeValue([...before, ...args]);
      const { isChange, isNamed, result } = method;
      const mayLeaveDoubt = isChange && !isNamed;
      const answer = mayLeaveDoubt ? calls.change(name, request) : calls.read(name, request);
      return understood(mayLeaveDoubt, result, await answer);
    },
  ]);
  const cell = Object.fromEntries(operations) as object;
  return { ...cell, [Symbol.asyncDispose]: async () => calls.close() } as unknown as Api;
}

/** Nonsense is as good as no answer. */
function understood(
  mayLeaveDoubt: boolean,
  schema: AnyMethod['result'],
  answer: Uint8Array,
): unknown {
  try {
    return checked(schema, decodeValue(answer));
  } catch (error) {
    const code = mayLeaveDoubt ? 'HF_UNKNOWN_OUTCOME' : 'HF_UNAVAILABLE';
    const text = `the other node answered nonsense: ${errorMessage(error)}`;
    throw new HoldfastError(code, text, { cause: error });
  }
}
