/** Seeds that failed once. A seed keeps its meaning only while the simulator draws alike. */
export const regressions: readonly { readonly seed: number; readonly why: string }[] = [];
