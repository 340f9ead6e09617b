/**
 * Mends hybrid objects: what one encoding has lost is made again from another one. A stripe is made
 * of the same bytes with the same key, so it is the same stripe, and nothing that names it changes.
 * Only a node that holds the volume's secret can do it; repair, which needs no keys, does the rest.
 */
import {
  bytesEqual,
  HoldfastError,
  policyOfNumbers,
  readingOrder,
  schemeOfNumber,
} from '../base/index.ts';
import type { Extent, InodeRecord, References } from '../meta/index.ts';
import type { MendReport } from './object-store.ts';
import { extentsFrom, type ReadContext, readElsewhere } from './read-content.ts';
import { prepareBytes } from './store-cut.ts';

export interface MendContext extends ReadContext {
  readonly references: References;
}

export const NOTHING_MENDED: MendReport = { mended: 0, lost: 0 };

export function addMended(a: MendReport, b: MendReport): MendReport {
  return { mended: a.mended + b.mended, lost: a.lost + b.lost };
}

export async function mendObject(
  context: MendContext,
  record: InodeRecord,
  signal: AbortSignal | undefined,
): Promise<MendReport> {
  const { namespace, stripes } = context;
  const { inode, schemeNumbers } = record;
  const order = readingOrder(policyOfNumbers(schemeNumbers));
  let report = NOTHING_MENDED;
  for (const encoding of order) {
    for await (const extent of extentsFrom(namespace, inode, { encoding, offset: 0 })) {
      const { spareCount } = await stripes.inspect(extent.stripe, extent.schemeNumber);
      if (spareCount >= 0) continue;
      const encodings = order.filter((other) => other !== encoding);
      // What was overwritten in part is not there any more to make a stripe of.
      const lost = { extent, encodings, signal };
      const isMended = !extent.whole && (await mendStripe(context, record, lost));
      report = addMended(report, { mended: isMended ? 1 : 0, lost: isMended ? 0 : 1 });
    }
  }
  return report;
}

async function mendStripe(
  context: MendContext,
  { inode }: InodeRecord,
  lost: {
    readonly extent: Extent;
    readonly encodings: readonly number[];
    readonly signal: AbortSignal | undefined;
  },
): Promise<boolean> {
  const { references, stripes, stripeKeys } = context;
  const { extent, signal } = lost;
  const content = await readElsewhere(context, inode, extent, lost);
  const named = await references.stripe(extent.stripe);
  if (!content || !named) return false;
  const scheme = schemeOfNumber(extent.schemeNumber);
  const key = stripeKeys.unwrap(inode, extent);
  using prepared = await prepareBytes(stripes, content, { scheme, key, signal });
  if (!bytesEqual(prepared.stripe, extent.stripe)) {
    throw new HoldfastError('HF_CORRUPT', 'two encodings of an object differ in content');
  }
  await stripes.spread(prepared, { generation: named.generation, signal });
  return true;
}
