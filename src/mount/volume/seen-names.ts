/**
 * Names as the kernel looks them up. Who only looks may be answered from what was listed a moment
 * ago (volume/held/glances.ts). Such an answer is *unsure*: the name is looked up again before
 * anything is done with the inode but to look at its attributes. If it is something else by then,
 * the caller meets ESTALE, and the kernel walks the path anew by itself before anybody hears of it.
 * So who opens a file sees what was closed elsewhere before (*close-to-open*).
 *
 * Source: Linux, `retry_estale` and `do_filp_open` in fs/namei.c.
 */
import type { InodeStatus, MountableVolume } from '../../volume/index.ts';
import { ErrnoError } from '../errno.ts';
import type { InodeNumber } from '../inode.ts';
import type { InodeTable } from './inode-table.ts';

/** What was said of a name. */
interface Unsure {
  readonly parent: InodeNumber;
  readonly name: Uint8Array;
  readonly status: InodeStatus;
}

export interface Seen {
  readonly status: InodeStatus;
  readonly isSure: boolean;
}

export class SeenNames {
  readonly #volume: Pick<MountableVolume, 'tree' | 'held'>;
  readonly #inodes: InodeTable;
  readonly #unsure = new Map<InodeNumber, Unsure>();

  constructor(volume: Pick<MountableVolume, 'tree' | 'held'>, inodes: InodeTable) {
    this.#volume = volume;
    this.#inodes = inodes;
  }

  /** {@link tell} says which number the kernel is told. */
  async lookup(parent: InodeNumber, name: Uint8Array): Promise<Seen | undefined> {
    const { tree } = this.#volume;
    const place = { directory: this.#inodes.directory(parent), name };
    const glanced = await tree.glance(place);
    if (glanced) return { status: glanced, isSure: false };
    const [status] = await Promise.all([tree.lookup(place), this.makeSure(parent)]);
    return status && { status, isSure: true };
  }

  /** The kernel is told that this is what it looked up. @param name lent. */
  tell(number: InodeNumber, { status, isSure }: Seen, parent: InodeNumber, name: Uint8Array): void {
    if (isSure) this.#unsure.delete(number);
    else this.#unsure.set(number, { parent, name: new Uint8Array(name), status });
  }

  isSure(number: InodeNumber): boolean {
    return !this.#unsure.has(number);
  }

  /** What the kernel was told of it holds, of all above it, too. @throws ESTALE. */
  async makeSure(number: InodeNumber): Promise<void> {
    const unsure = this.#unsure.get(number);
    if (!unsure) return;
    const { parent, name, status } = unsure;
    const { tree, held } = this.#volume;
    const place = { directory: this.#inodes.directory(parent), name };
    const [present] = await Promise.all([tree.lookup(place), this.makeSure(parent)]);
    if (this.#unsure.get(number) === unsure) this.#unsure.delete(number);
    if (present && isAsTold(present, status)) return;
    held.forgetGlances(); // so that the path is walked in earnest now
    throw new ErrnoError('ESTALE', 'the name has become something else');
  }

  forget(number: InodeNumber): void {
    this.#unsure.delete(number);
  }
}

/** In what the kernel goes by when it decides who may do something. */
function isAsTold(present: InodeStatus, told: InodeStatus): boolean {
  return (
    present.inode === told.inode &&
    present.mode === told.mode &&
    present.uid === told.uid &&
    present.gid === told.gid &&
    present.hasXattrs === told.hasXattrs
  );
}
