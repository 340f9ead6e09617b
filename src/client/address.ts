/** Where a node answers: on its socket, or on a TCP address for those who have its token. */
import type { RequestOptions } from 'node:http';

export type NodeAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number; readonly token: string };

/** The address as a request takes it. */
export function targetOf(address: NodeAddress): RequestOptions {
  if ('socketPath' in address) return { socketPath: address.socketPath };
  const { host, port, token } = address;
  return { host, port, headers: { authorization: `Bearer ${token}` } };
}
