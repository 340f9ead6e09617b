/**
 * Where the metadata of the cluster is, as this node knows it, kept over restarts.
 *
 * The *generation* of a registry counts the engines that it has had: 1 for the first log on the
 * stores of one node, one more each time it moved (ruling 17). Whoever has seen one goes back to
 * none that is lower: what a lower one says was moved away from it, and may have changed since.
 * A node that has the log of engine `local` on its stores is its *carrier*.
 */
import { assert } from '../../base/index.ts';
import type { DataDirectory, MetadataPlace } from '../data-directory.ts';

/** Where others have seen it. */
export type HeardPlace = Omit<MetadataPlace, 'isCarrier'>;

export class Whereabouts {
  readonly #data: Pick<DataDirectory, 'writePlace'>;
  #place: MetadataPlace;

  private constructor(data: Pick<DataDirectory, 'writePlace'>, place: MetadataPlace) {
    this.#data = data;
    this.#place = place;
  }

  /**
   * @param hasKey whether the node holds the metadata key: before there was a file that said more,
   *   who held it was the carrier.
   * @throws HF_CORRUPT.
   */
  static async open(
    data: Pick<DataDirectory, 'readPlace' | 'writePlace'>,
    { hasKey }: { readonly hasKey: boolean },
  ): Promise<Whereabouts> {
    const stored = await data.readPlace();
    const place = stored ?? { generation: 1, engine: 'local', isCarrier: hasKey };
    return new Whereabouts(data, place);
  }

  get generation(): number {
    return this.#place.generation;
  }

  get engine(): MetadataPlace['engine'] {
    return this.#place.engine;
  }

  /** Whether the log that counts is on the stores of this node. */
  get isCarrier(): boolean {
    return this.#place.engine === 'local' && this.#place.isCarrier;
  }

  /** Durable before the node gets the metadata key: that alone would make it look like one. */
  async noteMember(): Promise<void> {
    assert(!this.#place.isCarrier, 'a carrier has the key');
    await this.#note(this.#place);
  }

  /** The metadata is in a ring now. A generation that is no higher changes nothing. */
  async noteRing(generation: number): Promise<void> {
    await this.noteHeard({ generation, engine: 'etcd' });
  }

  /** As {@link noteRing}, of a ring or of a log that another node has made. */
  async noteHeard({ generation, engine }: HeardPlace): Promise<void> {
    if (generation <= this.#place.generation) return;
    const isCarrier = engine === 'etcd' && this.#place.isCarrier;
    await this.#note({ generation, engine, isCarrier });
  }

  /** This node has made the log that counts from now on, of a higher generation. */
  async noteRecovered(generation: number): Promise<void> {
    await this.#note({ generation, engine: 'local', isCarrier: true });
  }

  async #note(place: MetadataPlace): Promise<void> {
    await this.#data.writePlace(place);
    this.#place = place;
  }
}
