/**
 * What is measured in a mount, and how it is shown: rows of ours beside each peer, and a table with
 * a column for each system.
 */
import { type BenchRow, median, rateRow } from './harness.ts';

export interface Measure {
  readonly name: string;
  readonly unit: 'MiB/s' | '1/s' | 'ms';
}

/** Of 1 GiB, and of small files. Times are of what was left to do, so they have no ratio. */
const MEASURES = {
  write: { name: 'write 1 GiB, fsync', unit: 'MiB/s' },
  read: { name: 'read 1 GiB, cold', unit: 'MiB/s' },
  create: { name: 'create 2,000 × 4 KiB', unit: '1/s' },
  syncfs: { name: 'create: then syncfs', unit: 'ms' },
  settle: { name: 'create: then fsync of each', unit: 'ms' },
  beneath: { name: 'create: then sync of the disk', unit: 'ms' },
  createSettled: { name: 'create and fsync all at the end', unit: '1/s' },
  createSynced: { name: 'create 500, fsync each at once', unit: '1/s' },
  stat: { name: 'stat, cold', unit: '1/s' },
  readSmall: { name: 'open, read, close, cold', unit: '1/s' },
  unlink: { name: 'unlink', unit: '1/s' },
  unlinkSettle: { name: 'unlink: then fsync of the directory', unit: 'ms' },
} as const satisfies Record<string, Measure>;

export type MeasureKey = keyof typeof MEASURES;
export type Figures = Readonly<Partial<Record<MeasureKey, number>>>;

const KEYS = Object.keys(MEASURES) as MeasureKey[];

export interface SystemFigures {
  readonly name: string;
  readonly isOurs: boolean;
  readonly rounds: readonly Figures[];
}

function medianOf({ rounds }: SystemFigures, key: MeasureKey): number {
  return median(rounds.map((figures) => figures[key]!));
}

/** Each of ours beside each of the others. */
export function rowsOf(systems: readonly SystemFigures[]): BenchRow[] {
  const others = systems.filter(({ isOurs }) => !isOurs);
  return systems
    .filter(({ isOurs }) => isOurs)
    .flatMap((ours) => KEYS.flatMap((key) => rowsOfMeasure(key, ours, others)));
}

function rowsOfMeasure(
  key: MeasureKey,
  ours: SystemFigures,
  others: readonly SystemFigures[],
): BenchRow[] {
  const { name, unit } = MEASURES[key];
  const row = { name: `${name}, ${ours.name}`, unit, value: medianOf(ours, key) };
  if (others.length === 0) return [row];
  return others.map((peer) => {
    const beside = { ...row, peer: peer.name, peerValue: medianOf(peer, key) };
    return unit === 'ms' ? beside : rateRow(beside);
  });
}

/** A line for each measure, a column for each system; medians, or what one round measured. */
export function tableOf(systems: readonly SystemFigures[]): string {
  const lines = [
    ['', '', ...systems.map(({ name }) => name)],
    ...KEYS.map((key) => {
      const { name, unit } = MEASURES[key];
      return [name, unit, ...systems.map((system) => figure(medianOf(system, key)))];
    }),
  ];
  const widths = lines[0]!.map((_, at) => Math.max(...lines.map((line) => line[at]!.length)));
  return lines
    .map((line) =>
      line.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))),
    )
    .map((line) => line.join('  ').trimEnd())
    .join('\n');
}

function figure(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 });
}
