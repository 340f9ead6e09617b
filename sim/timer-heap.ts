/**
 * What wakes when: a heap by time, and by the order of setting for one moment. Both simulators
 * measure their virtual time with it.
 */

export interface Timer {
  readonly atMs: number;
  readonly order: number;
}

export class TimerHeap<Item extends Timer> {
  readonly #heap: Item[] = [];

  push(timer: Item): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isBefore(timer, heap[above]!)) break;
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = timer;
  }

  /** Takes the first one. */
  pop(): Item | undefined {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (!first || !last) return undefined;
    if (this.#heap.length > 0) this.#sink(last);
    return first;
  }

  #sink(timer: Item): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below += 1;
      if (!isBefore(heap[below]!, timer)) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = timer;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
