/** Where a node answers: on its socket, or on a TCP address for those who have its token. */
import type { RequestOptions } from 'node:http';
import { STRICT_HEADER } from '../api/index.ts';

export type NodeAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number; readonly token: string };

export interface ConnectOptions {
  /** Reads fail with HF_UNAVAILABLE where the node would answer by names that may be old. */
  readonly isStrict?: boolean | undefined;
}

/** The address as a request takes it. */
export function targetOf(address: NodeAddress, { isStrict }: ConnectOptions): RequestOptions {
  const strict = isStrict === true ? { [STRICT_HEADER]: '1' } : {};
  if ('socketPath' in address) return { socketPath: address.socketPath, headers: strict };
  const { host, port, token } = address;
  return { host, port, headers: { ...strict, authorization: `Bearer ${token}` } };
}
