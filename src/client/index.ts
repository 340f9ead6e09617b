/** The door of `client`: talks to a running node. */
export {
  connect,
  type CallOptions,
  type GetAnswer,
  type GetOptions,
  type HoldfastClient,
  type PutOptions,
} from './holdfast-client.ts';
