/**
 * Which stores must be here before metadata may be read as whole, and on which a record must be
 * before it counts. *Members* are the stores of the topology that are not `out`; a store that is
 * away is a member until it is written off. N members bear the absence of
 *
 *   b(N) = min(tolerance, ⌊(N − 1) / 2⌋)      a minority always, never more than the tolerance
 *
 * and their D disks that of b(D). So of six stores two may be away, of three or four one, of one or
 * two none.
 *
 * 1. A record counts when it is on at least b(N) + 1 members and on at least b(D) + 1 disks; where
 *    there is more than one member, on two of them. With fewer the put fails.
 * 2. A node goes on from what it finds only while at most b(N) members are away, or while those
 *    that are away lie on at most b(D) disks. Either way some copy of each record that counts is on
 *    a store that is here (b + 1 copies, b places away): it sees all of what was acknowledged, and
 *    what it appends follows that. So the log cannot fork over stores that come and go.
 * 3. Members change by a record of the topology. Before it is put: rule 2 holds for the members
 *    before and after; every record in sight (by 2: every one that counts) has been brought to
 *    rule 1 for both; and until it is known, new records are held to both. So whoever sees only the
 *    members before finds that record, and whoever goes by it finds all others.
 * 4. Copies that are lost while their store stays are beyond this: repair makes them again, and
 *    databases of rows that are ahead of the log tell that its end is missing.
 */
import type { DeviceId } from '../../base/index.ts';
import type { TopologyDevice } from '../../placement/index.ts';

/** What counts about a device. */
export type MemberDevice = Pick<TopologyDevice, 'id' | 'state' | 'labels'>;

export class Quorum {
  /** The disk of each member. */
  readonly #disks: ReadonlyMap<DeviceId, string>;
  readonly #storesAwayMax: number;
  readonly #disksAwayMax: number;

  constructor(devices: readonly MemberDevice[], tolerance: number) {
    const members = devices.filter(({ state }) => state !== 'out');
    this.#disks = new Map(members.map(({ id, labels }) => [id, labels.join('/')]));
    const bears = (count: number) => Math.max(0, Math.min(tolerance, Math.ceil(count / 2) - 1));
    this.#storesAwayMax = bears(members.length);
    this.#disksAwayMax = bears(new Set(this.#disks.values()).size);
  }

  get memberCount(): number {
    return this.#disks.size;
  }

  /** Copies that a record needs at the least. */
  get copiesMin(): number {
    return Math.max(1, Math.min(2, this.memberCount), this.#storesAwayMax + 1);
  }

  get storesAwayMax(): number {
    return this.#storesAwayMax;
  }

  diskOf(id: DeviceId): string | undefined {
    return this.#disks.get(id);
  }

  /** Members that are not among `here`. */
  away(here: Iterable<DeviceId>): readonly DeviceId[] {
    const present = new Set(here);
    return [...this.#disks.keys()].filter((id) => !present.has(id));
  }

  /** Rule 2. */
  isPresent(here: Iterable<DeviceId>): boolean {
    const away = this.away(here);
    if (away.length <= this.#storesAwayMax) return true;
    return this.#disksOf(away).size <= this.#disksAwayMax;
  }

  /** Rule 1. */
  isKept(holders: Iterable<DeviceId>): boolean {
    const members = [...new Set(holders)].filter((id) => this.#disks.has(id));
    if (this.memberCount === 0) return true;
    return members.length >= this.copiesMin && this.#disksOf(members).size > this.#disksAwayMax;
  }

  /** Whether members and disks are the same. */
  equals(other: Quorum): boolean {
    if (this.memberCount !== other.memberCount) return false;
    return [...this.#disks].every(([id, disk]) => other.diskOf(id) === disk);
  }

  #disksOf(ids: readonly DeviceId[]): Set<string | undefined> {
    return new Set(ids.map((id) => this.#disks.get(id)));
  }
}
