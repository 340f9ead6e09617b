/**
 * {@link Namespace}, {@link Tree} and {@link References} of a steward on another node, with the
 * same contracts. Reads that got no answer are asked once more; a change that got none is
 * HF_UNKNOWN_OUTCOME.
 */
import { errorMessage, HoldfastError } from '../../base/index.ts';
import { RemoteCalls, type RemoteCallsOptions } from '../../log/index.ts';
import { type AnyMethod, checked } from './cell-methods.ts';
import type { Namespace } from '../namespace/namespace.ts';
import { NAMESPACE_METHODS } from '../namespace/namespace-wire.ts';
import type { Tree } from '../namespace/tree.ts';
import { TREE_METHODS } from '../namespace/tree-wire.ts';
import type { References } from '../references/references.ts';
import { REFERENCE_METHODS } from '../references/references-wire.ts';
import { decodeValue, encodeValue } from './wire-value.ts';

export const NAMESPACE_SERVICE = 'namespace';
export const TREE_SERVICE = 'tree';
export const REFERENCES_SERVICE = 'references';

type RemoteCellOptions = Omit<RemoteCallsOptions, 'service'>;

/** The namespace of a volume. The volume is as `serveNamespaces` knows it there. */
export function remoteNamespace(options: RemoteCellOptions & { volume: string }): Namespace {
  const { volume, ...where } = options;
  const calls = new RemoteCalls({ ...where, service: NAMESPACE_SERVICE });
  return remoteCell<Namespace>(calls, NAMESPACE_METHODS, [volume]);
}

/** The tree of a volume, of which `serveTrees` knows. */
export function remoteTree(
  options: RemoteCellOptions & { volume: string },
): Tree & AsyncDisposable {
  const { volume, ...where } = options;
  const calls = new RemoteCalls({ ...where, service: TREE_SERVICE });
  return remoteCell<Tree & AsyncDisposable>(calls, TREE_METHODS, [volume]);
}

export function remoteReferences(options: RemoteCellOptions): References {
  const calls = new RemoteCalls({ ...options, service: REFERENCES_SERVICE });
  return remoteCell<References>(calls, REFERENCE_METHODS, []);
}

/** @param before goes in front of the arguments of every call. */
function remoteCell<Api extends AsyncDisposable>(
  calls: RemoteCalls,
  methods: object,
  before: readonly unknown[],
): Api {
  const operations = Object.entries(methods as Record<string, AnyMethod>).map(([name, method]) => [
    name,
    async (...args: unknown[]): Promise<unknown> => {
      const request = encodeValue([...before, ...args]);
      const { isChange, result } = method;
      const answer = isChange ? calls.change(name, request) : calls.read(name, request);
      return understood(method.isChange, result, await answer);
    },
  ]);
  const cell = Object.fromEntries(operations) as object;
  return { ...cell, [Symbol.asyncDispose]: async () => calls.close() } as unknown as Api;
}

/** Nonsense is as good as no answer. */
function understood(isChange: boolean, schema: AnyMethod['result'], answer: Uint8Array): unknown {
  try {
    return checked(schema, decodeValue(answer));
  } catch (error) {
    const code = isChange ? 'HF_UNKNOWN_OUTCOME' : 'HF_UNAVAILABLE';
    const text = `the other node answered nonsense: ${errorMessage(error)}`;
    throw new HoldfastError(code, text, { cause: error });
  }
}
