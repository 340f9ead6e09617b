/** The door of `stripes`: content ⇄ shards on many stores. */
export { stripeShape } from './shape.ts';
export { openStripes, type StripesOptions } from './stripes.ts';
export type {
  PreparedStripe,
  RebuildReport,
  ShardPlace,
  SpreadReport,
  StripeBuffer,
  StripeHealth,
  StripeRef,
  StripeStore,
  WantedShards,
} from './stripe-store.ts';
