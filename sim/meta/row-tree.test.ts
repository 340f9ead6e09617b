/**
 * Aim: one client alone gets from rows just what the model says, so that what a simulation finds is
 * a fault of the cells between them.
 * Method: the calls of many plans, one after the other, on a database in memory.
 */
import { expect, it } from 'vitest';
import { asBuffer, compareBytes, errorCode } from '../../src/base/index.ts';
import type { RangeOptions, Row } from '../../src/db/index.ts';
import { SeededRandom } from '../random.ts';
import { drawPlan } from './plan.ts';
import { operationOf, type TreeRows } from './row-tree.ts';
import { treeModel, type TreeState } from './tree-model.ts';

/** Rows in a map: all or nothing of what an operation writes. */
class MapRows implements TreeRows {
  #rows = new Map<string, Row>();

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#rows.get(asBuffer(key).toString('hex'))?.value;
  }

  range({ from, to, limit }: RangeOptions): Row[] {
    const isWithin = ({ key }: Row): boolean =>
      compareBytes(key, from) >= 0 && compareBytes(key, to) < 0;
    return [...this.#rows.values()].filter(isWithin).slice(0, limit);
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#rows.set(asBuffer(key).toString('hex'), { key, value });
  }

  delete(key: Uint8Array): void {
    this.#rows.delete(asBuffer(key).toString('hex'));
  }

  run(operation: (rows: TreeRows) => string): string {
    const before = new Map(this.#rows);
    try {
      return operation(this);
    } catch (error) {
      this.#rows = before;
      const code = errorCode(error);
      if (code === undefined) throw error;
      return code;
    }
  }
}

it('answers as the model does', () => {
  const seen = new Map<string, number>();
  for (let seed = 1; seed <= 300; seed++) {
    const plan = drawPlan(seed, new SeededRandom(BigInt(seed)));
    const rows = new MapRows();
    let state: TreeState = treeModel.initial;
    const [longest = []] = plan.clients;
    const rounds = longest.map((_, index) => plan.clients.map((calls) => calls[index]));
    for (const { call } of rounds.flat().filter((planned) => planned !== undefined)) {
      const operation = operationOf(call, (node) => plan.slots.get(node)!);
      const answer = rows.run(operation);
      const next = treeModel.step(state, call, answer);
      expect(next, `seed ${seed}: ${JSON.stringify(call)} → ${answer}`).toBeDefined();
      state = next!;
      seen.set(`${call.do} ${answer}`, (seen.get(`${call.do} ${answer}`) ?? 0) + 1);
    }
  }
  for (const common of [
    'rename ok',
    'rename HF_NOT_EMPTY',
    'rename HF_BAD_ARGUMENT',
    'link ok',
    'rmdir ok',
    'create HF_NOT_FOUND',
  ]) {
    expect(seen.get(common) ?? 0, common).toBeGreaterThan(0);
  }
});
