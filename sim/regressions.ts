/** Seeds that failed once, for ever. A seed keeps its meaning only while the simulator draws alike. */
export interface Regression {
  readonly seed: number;
  readonly why: string;
}

export const regressions: readonly Regression[] = [];
