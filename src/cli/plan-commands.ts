/** Verbs that need no node: scheme show, limits. */
import { formatScheme, HoldfastError, LIMITS, parseScheme, toleranceOf } from '../base/index.ts';
import { fields } from './output.ts';
import type { Session } from './session.ts';
import { formatSize, isDecimalSize, parseCount, parseSize } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

interface SchemeOptions {
  readonly size?: string;
  readonly k?: string;
  readonly n?: string;
}

export function addPlanCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'scheme', 'work out what a scheme costs and bears');
  addVerb(group, 'show', {
    summary: 'print shards, sizes, tolerance and overhead of a scheme',
    args: { '[scheme]': 'such as rs-4+2, ida-3of5, copy-3; or give -k and -n' },
    options: {
      '-k <count>': 'shards that restore',
      '-n <count>': 'shards in all',
      '--size <size>': 'of the content, such as 60MB',
    },
    examples: [
      'holdfast scheme show rs-10+4 --size 1G',
      'holdfast scheme show -k 3 -n 4 --size 60MB',
    ],
    action: async (session: Session, options: SchemeOptions, text: string | undefined) => {
      const plan = planOf(schemeText(text, options), options.size);
      session.show(plan, () => planLines(plan, isDecimalSize(options.size ?? '')));
    },
  });
  addVerb(verbs, 'limits', {
    summary: 'print every limit with its value',
    details: 'Units are in the names: bytes, milliseconds, else a count.',
    examples: ['holdfast limits'],
    action: async (session: Session) => {
      session.show(LIMITS, () => fields(LIMITS));
    },
  });
}

/** @throws HF_BAD_ARGUMENT when it is not clear which scheme is meant. */
function schemeText(text: string | undefined, { k, n }: SchemeOptions): string {
  if (text !== undefined && k === undefined && n === undefined) return text;
  if (text !== undefined || k === undefined || n === undefined) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'name a scheme such as rs-4+2, or give -k and -n');
  }
  return `ida-${parseCount(k, { min: 1 })}of${parseCount(n, { min: 1 })}`;
}

interface SchemePlan {
  readonly scheme: string;
  readonly k: number;
  readonly n: number;
  /** Shards that may be lost. */
  readonly tolerance: number;
  /** Part of the shards that may be lost: (n − k) ÷ n. */
  readonly lostFraction: number;
  /** What is stored beyond the content: (n − k) ÷ k. */
  readonly overhead: number;
  readonly sizeBytes?: number;
  /** On each of n devices. Sealing and checksums add less than one part in a thousand. */
  readonly shardBytes?: number;
  readonly totalBytes?: number;
}

function planOf(text: string, size: string | undefined): SchemePlan {
  const scheme = parseScheme(text);
  const { k, n } = scheme;
  const tolerance = toleranceOf(scheme);
  const plan = {
    scheme: formatScheme(scheme),
    k,
    n,
    tolerance,
    lostFraction: tolerance / n,
    overhead: tolerance / k,
  };
  if (size === undefined) return plan;
  const sizeBytes = parseSize(size);
  const shardBytes = Math.ceil(sizeBytes / k);
  return { ...plan, sizeBytes, shardBytes, totalBytes: shardBytes * n };
}

function planLines(plan: SchemePlan, isDecimal: boolean): string[] {
  const size = (bytes: number | undefined) =>
    bytes === undefined ? undefined : formatSize(bytes, { isDecimal });
  return fields({
    scheme: plan.scheme,
    shards: `${plan.n}, any ${plan.k} of them restore`,
    'may be lost': `${plan.tolerance} (${percent(plan.lostFraction)} of the shards)`,
    overhead: percent(plan.overhead),
    content: size(plan.sizeBytes),
    'per shard': size(plan.shardBytes),
    total: size(plan.totalBytes),
  });
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`;
}
