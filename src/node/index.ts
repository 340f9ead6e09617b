/** The door of `node`: configuration → running daemon; the core for the simulator. */
export { type Core, type CoreOptions, openCore } from './core.ts';
export { controlSocketPath } from './data-directory.ts';
export { type KnownStores, readKnownStores } from './known-stores.ts';
export { type NodeOptions, openNode, type RunningNode } from './node.ts';
export type { VolumeSecrets } from './volume-set.ts';
