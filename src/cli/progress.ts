/** A line on standard error that grows while something is done; only where somebody looks at it. */
import { MiB } from '../base/index.ts';
import type { Io } from './io.ts';
import { formatSize } from './sizes.ts';

/** Smaller files are done before anybody could look. */
const FILE_BYTES_MIN = 16 * MiB;
const REDRAW_MS = 100;
const BAR_WIDTH = 24;
const CLEAR_LINE = '\r\x1b[K';

export interface ProgressState {
  readonly done: number;
  /** 0 when it is not known. */
  readonly total: number;
  readonly bytes: number;
}

export class ProgressBar implements Disposable {
  readonly #io: Io;
  readonly #label: string;
  readonly #startMs: number;
  #drawnMs = -Infinity;

  constructor(io: Io, label: string) {
    this.#io = io;
    this.#label = label;
    this.#startMs = io.clock.monotonic();
  }

  update({ done, total, bytes }: ProgressState): void {
    const { stderr, clock } = this.#io;
    const nowMs = clock.monotonic();
    if (!stderr.isTTY || nowMs - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = nowMs;
    const seconds = Math.max((nowMs - this.#startMs) / 1000, 0.001);
    const rate = `${formatSize(bytes)}  ${formatSize(bytes / seconds)}/s`;
    stderr.write(`${CLEAR_LINE}${this.#label} ${barOf(done, total)}${rate}`);
  }

  /** Bytes of a file; shows itself only where that takes a moment. */
  readonly ofFile = ({ done, total }: { done: number; total: number }): void => {
    if (total >= FILE_BYTES_MIN) this.update({ done, total, bytes: done });
  };

  /** Takes the line away, before something else is printed. */
  clear(): void {
    if (this.#drawnMs !== -Infinity) this.#io.stderr.write(CLEAR_LINE);
    this.#drawnMs = -Infinity;
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

function barOf(done: number, total: number): string {
  if (total <= 0) return '';
  const part = Math.min(done / total, 1);
  const full = Math.floor(part * BAR_WIDTH);
  const bar = '#'.repeat(full).padEnd(BAR_WIDTH, '.');
  return `[${bar}] ${String(Math.floor(part * 100)).padStart(3)} %  `;
}
