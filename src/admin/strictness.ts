/**
 * Whether a request may be answered by names as they were a while ago, which is all that a node has
 * while it is cut off (stale-reads.ts in `volume`). A strict one may not. Which read was stale is
 * not known here, only whether any was meanwhile: when one was, there is doubt anyway.
 */
import type { IncomingMessage } from 'node:http';
import { type ControlMethod, STRICT_HEADER } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import type { AdminParts } from './admin-parts.ts';

/** Those that only read names. What changes something never goes by old ones. */
export const READING_METHODS: readonly ControlMethod[] = [
  'content.fetch',
  'object.query',
  'object.list',
  'object.where',
  'object.locate',
  'tree.status',
  'tree.list',
];

export class Strictness {
  readonly #count: () => number;
  readonly #before: number;

  /** Begins with the request. */
  constructor(request: IncomingMessage, parts: Pick<AdminParts, 'staleReadCount'>) {
    const isStrict = request.headers[STRICT_HEADER] !== undefined;
    this.#count = isStrict ? () => parts.staleReadCount() : () => 0;
    this.#before = this.#count();
  }

  /**
   * What is asked, or that it may be old and must not be: that something is not there is an answer
   * as well. @throws HF_UNAVAILABLE; what `ask` throws.
   */
  async keep<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    try {
      return await ask();
    } finally {
      this.check();
    }
  }

  /**
   * Before more of an answer is given. @throws HF_UNAVAILABLE when it may be old and must not be.
   */
  check(): void {
    if (this.#count() === this.#before) return;
    const reason = 'this node is cut off, and what it knows of the names may be old';
    throw new HoldfastError('HF_UNAVAILABLE', reason);
  }
}
