/**
 * What every bench uses: rows, medians, and runs of competitors in turns.
 *
 * A *row* is one measured figure; with a *peer* (another program or library that does the same
 * work) it says how we compare. `ratio` is above 1 where we are better: ours ÷ peer's for rates,
 * peer's ÷ ours for times. Competitors run interleaved (A B A B …), so that a machine that grows
 * warm or busy is unjust to all of them alike.
 */

export interface BenchRow {
  readonly name: string;
  readonly value: number;
  /** "GB/s", "MB/s", "1/s", "ms"; GB and MB are decimal. */
  readonly unit: string;
  /** What we are compared with. */
  readonly peer?: string | undefined;
  readonly peerValue?: number | undefined;
  readonly ratio?: number | undefined;
}

/** A bench file exports `bench`; `bench/main.ts` lists the files. */
export type Bench = () => Promise<readonly BenchRow[]>;

/** One run of one competitor; the figure it measured. */
export type Measure = () => number | Promise<number>;

/** The middle value; the mean of the two middle ones when their number is even. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no values, no median');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle]!;
  return sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2;
}

/**
 * Runs all competitors in turns, after one turn that is not counted.
 * @returns the median of each.
 */
export async function interleave<Name extends string>(
  competitors: Readonly<Record<Name, Measure>>,
  { turns = 3 }: { readonly turns?: number } = {},
): Promise<Record<Name, number>> {
  const entries = Object.entries(competitors) as [Name, Measure][];
  const figures = new Map<Name, number[]>(entries.map(([name]) => [name, []]));
  for (let turn = 0; turn <= turns; turn++) {
    for (const [name, measure] of entries) {
      const figure = await measure();
      if (turn > 0) figures.get(name)!.push(figure);
    }
  }
  return Object.fromEntries(entries.map(([name]) => [name, median(figures.get(name)!)])) as Record<
    Name,
    number
  >;
}

/** Seconds that `work` takes. */
export async function seconds(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Bytes a second of `work` on `bytes`, repeated for at least `atLeastMs`. */
export async function bytesPerSecond(
  bytes: number,
  work: () => unknown,
  { atLeastMs = 200 }: { readonly atLeastMs?: number } = {},
): Promise<number> {
  const start = performance.now();
  let count = 0;
  let elapsedMs = 0;
  do {
    await work();
    count += 1;
    elapsedMs = performance.now() - start;
  } while (elapsedMs < atLeastMs);
  return (bytes * count * 1000) / elapsedMs;
}

/** A row about a rate (more is better), with the ratio worked out. */
export function rateRow(row: Omit<BenchRow, 'ratio'>): BenchRow {
  return row.peerValue === undefined ? row : { ...row, ratio: row.value / row.peerValue };
}

/** A row about a time (less is better), with the ratio worked out. */
export function timeRow(row: Omit<BenchRow, 'ratio'>): BenchRow {
  return row.peerValue === undefined ? row : { ...row, ratio: row.peerValue / row.value };
}

function figure(value: number | undefined): string {
  if (value === undefined) return '';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

/** The rows as a table of plain text, one line each. */
export function formatTable(rows: readonly BenchRow[]): string {
  const cells = [
    ['bench', 'ours', 'unit', 'peer', "peer's", 'ratio'],
    ...rows.map((row) => [
      row.name,
      figure(row.value),
      row.unit,
      row.peer ?? '',
      figure(row.peerValue),
      row.ratio === undefined ? '' : `${figure(row.ratio)}×`,
    ]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const isNumber = [false, true, false, false, true, true];
  return cells
    .map((row) =>
      row
        .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
