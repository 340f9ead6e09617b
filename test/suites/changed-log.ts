/** A log with some methods changed: all others are the log's. */
import type { FencedLog } from '../../src/log/index.ts';

export function changedLog(log: FencedLog, changed: Partial<FencedLog>): FencedLog {
  return {
    entryBytesTarget: log.entryBytesTarget,
    head: (cell) => log.head(cell),
    seize: (cell) => log.seize(cell),
    append: (cell, position, bytes) => log.append(cell, position, bytes),
    confirm: (cell, epoch) => log.confirm(cell, epoch),
    read: (cell, from) => log.read(cell, from),
    trim: (cell, upTo) => log.trim(cell, upTo),
    saveSnapshot: (cell, position, parts, options) =>
      log.saveSnapshot(cell, position, parts, options),
    loadSnapshot: (cell) => log.loadSnapshot(cell),
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
    ...changed,
  };
}
