/** Content on its way in, pulled straight into the memory where it is worked on. */

export interface ContentSource extends AsyncDisposable {
  /**
   * Writes the next bytes to the start of `target`, as many as it likes but at least one.
   * @returns how many; 0 at the end.
   */
  fill(target: Uint8Array): Promise<number>;
}

/** Content as a stream, or as a source that saves a copy. */
export type Content = AsyncIterable<Uint8Array> | ContentSource;

/** The caller disposes it; a stream that was given is then told that nobody reads on. */
export function sourceOf(content: Content): ContentSource {
  return 'fill' in content ? content : new StreamSource(content);
}

class StreamSource implements ContentSource {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array();

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#pieces = stream[Symbol.asyncIterator]();
  }

  async fill(target: Uint8Array): Promise<number> {
    while (this.#piece.length === 0) {
      const next = await this.#pieces.next();
      if (next.done) return 0;
      this.#piece = next.value;
    }
    const part = this.#piece.subarray(0, target.length);
    target.set(part);
    this.#piece = this.#piece.subarray(part.length);
    return part.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pieces.return?.();
  }
}
