/**
 * Counters and gauges kept in memory, by name and labels: what a metrics page prints and what tests
 * ask. Names and labels come from our own code, so their number is bounded.
 */
import type { Metrics } from './env.ts';

export class MetricsTable implements Metrics {
  readonly #values = new Map<string, number>();

  add(counter: string, count: number, labels?: Readonly<Record<string, string>>): void {
    const key = seriesOf(counter, labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + count);
  }

  set(gauge: string, value: number, labels?: Readonly<Record<string, string>>): void {
    this.#values.set(seriesOf(gauge, labels), value);
  }

  /** 0 when nothing was counted. */
  get(name: string, labels?: Readonly<Record<string, string>>): number {
    return this.#values.get(seriesOf(name, labels)) ?? 0;
  }

  /** `name{label="value",…}` → value, in the order of first use. */
  entries(): IterableIterator<[series: string, value: number]> {
    return this.#values.entries();
  }
}

function seriesOf(name: string, labels: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.keys(labels)
    .toSorted()
    .map((label) => `${label}=${JSON.stringify(labels[label])}`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`;
}
