/** Seeds that failed once. A seed keeps its meaning only while the simulator draws alike. */
export const regressions: readonly { readonly seed: number; readonly why: string }[] = [
  { seed: 20, why: 'two cells that gave each other slots waited for ever' },
  { seed: 43, why: 'slots were given back before their source had heard that they had arrived' },
  { seed: 141, why: 'copies of one request aborted each other for ever' },
  { seed: 326, why: 'a target began to give slots away in the middle of taking some' },
  { seed: 353, why: 'of two who made the next generation, one opened what the other had cleared' },
  { seed: 1605, why: 'a steward of a sealed generation went on answering reads' },
  { seed: 34668, why: 'who was succeeded as it caught up called the log corrupt' },
];
