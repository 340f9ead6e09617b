/** The door of `client`: talks to a running node. */
export type { ConnectOptions, NodeAddress } from './address.ts';
export {
  connect,
  type CallOptions,
  type GetAnswer,
  type GetOptions,
  type HoldfastClient,
  type PutOptions,
} from './holdfast-client.ts';
