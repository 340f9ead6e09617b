/** The other direction: what a file system tells the kernel unasked. */
import type { InodeNumber } from './inode.ts';

/** Good from `FileSystem.begin` on; once the mount is gone these do nothing. */
export interface Kernel {
  /**
   * Forget the attributes and, from `offset` on, `lengthBytes` of content that is cached; -1: no
   * content, 0 bytes: all from there. Resolves when the kernel has done so, which waits for
   * dirty pages to be written here.
   */
  invalidateInode(
    inode: InodeNumber,
    range?: { readonly offset: number; readonly lengthBytes: number },
  ): Promise<void>;
  /** The name may stand for something else now, or for something where there was nothing. */
  invalidateEntry(parent: InodeNumber, name: Uint8Array): Promise<void>;
  /** This inode has lost this name; who watches the directory hears of it. */
  removeEntry(parent: InodeNumber, entry: { inode: InodeNumber; name: Uint8Array }): Promise<void>;
  /** Puts content into the kernel's cache. `data` is lent until this resolves. */
  store(inode: InodeNumber, content: { offset: number; data: Uint8Array }): Promise<void>;
  /**
   * Until it is disposed the thread's event loop keeps turning between requests. Without it, and
   * without an unsettled answer, the thread sleeps in the kernel until the next request.
   */
  stayAwake(): Disposable;
}
