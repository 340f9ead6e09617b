/** The door of `repair`: scrub, health, repair, collection. */
export { openRepair, type RepairOptions } from './open-repair.ts';
export { runHealer, type HealerOptions } from './healer.ts';
export type {
  CollectSummary,
  HealthSummary,
  Progress,
  Repair,
  RepairSummary,
  RunOptions,
  ScrubSummary,
} from './repair.ts';
