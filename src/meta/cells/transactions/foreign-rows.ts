/**
 * Rows of other cells as they were fetched for one operation. What was not fetched is no empty
 * space: reading it is a {@link Detour}.
 */
import { compareBytes, keyText } from '../../../base/index.ts';
import type { RangeOptions, Row } from '../../../db/index.ts';
import type { RangeRead, RowRange } from '../cell-peers.ts';
import { digestOfRows } from '../entries.ts';
import { type Rows } from '../overlay.ts';
import { keyAfter } from '../rows.ts';
import { Detour } from './detour.ts';

/** All rows `from` ≤ key < `to`, ascending. */
interface Fetched {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly rows: readonly Row[];
}

export class ForeignRows implements Rows {
  readonly #fetched: Fetched[] = [];
  /** Those of one key among them, by its text: a batch reads thousands. */
  readonly #single = new Map<string, Fetched>();

  /** What an owner answered; a limit that was reached cuts the range that is known. */
  add({ from, to, limit, isReverse }: RowRange, found: readonly Row[]): void {
    const last = found.at(-1);
    const isCut = limit !== undefined && last !== undefined && found.length >= limit;
    const fetched = {
      from: isCut && isReverse ? last.key : from,
      to: isCut && !isReverse ? keyAfter(last.key) : to,
      rows: isReverse ? found.toReversed() : found,
    };
    this.#fetched.push(fetched);
    const isSingle = compareBytes(fetched.to, keyAfter(fetched.from)) === 0;
    if (isSingle) this.#single.set(keyText(fetched.from), fetched);
  }

  has(key: Uint8Array): boolean {
    return this.#covering(key, keyAfter(key)) !== undefined;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const to = keyAfter(key);
    const found = this.#covering(key, to);
    if (!found) throw new Detour({ kind: 'foreign', ranges: [{ from: key, to }] });
    return found.rows.find((row) => compareBytes(row.key, key) === 0)?.value;
  }

  range(options: RangeOptions): Row[] {
    const { from, to, limit, isReverse } = options;
    for (const fetched of this.#fetched) {
      const rows = withinRange(fetched, options);
      const isEnough = limit !== undefined && rows.length >= limit;
      const beginsIn = compareBytes(fetched.from, from) <= 0;
      const endsIn = compareBytes(fetched.to, to) >= 0;
      if (beginsIn && endsIn) return rows;
      if (isEnough && (isReverse ? endsIn : beginsIn)) return rows;
    }
    throw new Detour({ kind: 'foreign', ranges: [{ from, to, limit, isReverse }] });
  }

  /** Everything that is known, as what a transaction has read. */
  reads(): RangeRead[] {
    return this.#fetched.map(({ from, to, rows }) => ({ from, to, digest: digestOfRows(rows) }));
  }

  #covering(from: Uint8Array, to: Uint8Array): Fetched | undefined {
    return (
      this.#single.get(keyText(from)) ??
      this.#fetched.find(
        (fetched) => compareBytes(fetched.from, from) <= 0 && compareBytes(fetched.to, to) >= 0,
      )
    );
  }
}

function withinRange({ rows }: Fetched, { from, to, limit, isReverse }: RangeOptions): Row[] {
  const found = rows.filter(({ key }) => compareBytes(key, from) >= 0 && compareBytes(key, to) < 0);
  return (isReverse ? found.reverse() : found).slice(0, limit);
}
