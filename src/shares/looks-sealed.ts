/**
 * Whether bytes look like a sealed stream. Sealed shares whose trailers were all cut off are plain
 * shares of a stream that nobody can tell from noise, and as such agree with each other. Texts,
 * pictures and what common packers make are less even than noise; what is encrypted is not, so this
 * is a doubt and no proof.
 *
 * Pearson's chi-squared over the counts of the 256 bytes: of noise it is 255 with a standard
 * deviation of √510, and grows with the length for anything else.
 */
import { MiB } from '../base/index.ts';

const SAMPLE_BYTES_MAX = 1 * MiB;
/** Fewer say too little. */
const SAMPLE_BYTES_MIN = 4096;
/** Four standard deviations. */
const DISTANCE_MAX = 4 * Math.sqrt(510);

export class NoiseMeter {
  readonly #counts = new Uint32Array(256);
  #bytes = 0;

  /** Takes the beginning of the stream, in its order. */
  add(bytes: Uint8Array): void {
    const taken = bytes.subarray(0, SAMPLE_BYTES_MAX - this.#bytes);
    for (const byte of taken) this.#counts[byte]! += 1;
    this.#bytes += taken.length;
  }

  get looksSealed(): boolean {
    if (this.#bytes < SAMPLE_BYTES_MIN) return false;
    const expected = this.#bytes / 256;
    const chiSquared = this.#counts.reduce(
      (sum, count) => sum + (count - expected) ** 2 / expected,
      0,
    );
    return Math.abs(chiSquared - 255) <= DISTANCE_MAX;
  }
}
