/** Times as people write them: 30s, 10m, 1h, 7d. */
import { HoldfastError } from '../base/index.ts';

const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds. @throws HF_BAD_ARGUMENT. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([smhd])$/.exec(text.trim());
  const ms = Math.round(Number(match?.[1]) * (UNIT_MS[match?.[2] ?? ''] ?? NaN));
  if (Number.isSafeInteger(ms) && ms > 0) return ms;
  throw new HoldfastError('HF_BAD_ARGUMENT', `"${text}" is no time; write 30m, 1h or 7d`);
}

/** In the largest unit that says it exactly. */
export function formatDuration(ms: number): string {
  const [unit, unitMs] = Object.entries(UNIT_MS).findLast(([, each]) => ms % each === 0) ?? [
    's',
    1000,
  ];
  return `${ms / unitMs}${unit}`;
}
