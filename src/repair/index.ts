/** The door of `repair`: scrub, health, repair, collection; here or on the node that does it. */
export type { CollectedTree, CollectedUploads } from './collector.ts';
export { openRepair, type RepairOptions } from './open-repair.ts';
export { AUTOMATIC_RATES, type PaceRates } from './pace.ts';
export { runHealer, type HealerOptions } from './healer.ts';
export { remoteRepair, type RemoteRepairOptions } from './remote-repair.ts';
export { type ServedRepair, serveRepair, type ServeRepairOptions } from './serve-repair.ts';
export { serveWholeEpochs, tellWhole, WholeEpochs } from './whole-epochs.ts';
export type {
  CollectOptions,
  CollectSummary,
  HealthSummary,
  Progress,
  Repair,
  RepairActivity,
  RepairRunOptions,
  RepairStatus,
  RepairSummary,
  RunOptions,
  ScrubSummary,
} from './repair.ts';
