/**
 * Content on its way to the node, one piece after the other, each taken by the socket before the
 * next is asked for. The node may answer before it has all, when it refuses; then nobody waits any
 * longer, neither for the socket nor for the source.
 */
import type { ClientRequest } from 'node:http';
import type { Exchange } from './exchange.ts';
import { interrupted } from './failures.ts';

/** Whether all was sent; if not, the answer says why. @throws what `content` throws. */
export async function sendContent(
  { request, answer }: Exchange,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const answered = new Answered(answer);
  const pieces = content[Symbol.asyncIterator]();
  try {
    for (;;) {
      const piece = await answered.or(pieces.next());
      if (piece === undefined) break;
      if (piece.done) {
        request.end();
        return true;
      }
      await answered.or(write(request, piece.value));
    }
  } catch (error) {
    request.destroy();
    throw signal?.aborted ? interrupted(error) : error;
  }
  // Not awaited: a source that waits for its next bytes would hold us.
  Promise.resolve(pieces.return?.()).catch(() => {});
  return false;
}

/** Resolves when `bytes` are the caller's again; never when the request fails: it is answered. */
function write(request: ClientRequest, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    request.write(bytes, (error) => {
      if (!error) resolve();
    });
  });
}

/** The moment in which an answer, or the failure of its request, comes. */
class Answered {
  #isNow = false;
  #wake = () => {};

  constructor(answer: Promise<unknown>) {
    const wake = () => {
      this.#isNow = true;
      this.#wake();
    };
    answer.then(wake, wake);
  }

  /**
   * What `work` gives, or `undefined` when the answer comes first. (Promise.race would leave a
   * handler on the answer for each piece.)
   */
  or<Result>(work: Promise<Result>): Promise<Result | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      work.then(resolve, reject);
      if (this.#isNow) this.#wake();
    });
  }
}
