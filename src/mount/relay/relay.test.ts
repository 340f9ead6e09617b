/**
 * Aim: a file system behind the relay answers as it would without, whatever comes when; what a
 * request lends is not kept; an inode number that an answer on its way gives is not forgotten.
 * Method: both sides in one thread, messages are clones that arrive when the test says so.
 */
import { expect, it } from 'vitest';
import { errorCode, HoldfastError } from '../../base/index.ts';
import { realEnv, silentLog } from '../../env/index.ts';
import type { Caller, FileSystem } from '../file-system.ts';
import { RelayHost } from './host.ts';
import type { HostMessage, ReaderMessage, RelayedFileSystem } from './messages.ts';
import { RelayReader } from './reader.ts';

const caller: Caller = { uid: 1, gid: 2, processId: 3, signal: new AbortController().signal };

interface Bed {
  readonly reader: FileSystem;
  /** Lets what was said so far arrive: at the host, at the reader. */
  toHost(): Promise<void>;
  toReader(): Promise<void>;
}

function bedOf(fileSystem: Partial<RelayedFileSystem>, { begins = true } = {}): Bed {
  const toHost: ReaderMessage[] = [];
  const toReader: HostMessage[] = [];
  const reader = new RelayReader((message, handedOver = []) =>
    toHost.push(structuredClone(message, { transfer: handedOver })),
  );
  const host = new RelayHost({
    env: realEnv({ log: silentLog }),
    fileSystem: fileSystem as RelayedFileSystem,
    post: (message, transfer) => toReader.push(structuredClone(message, { transfer })),
  });
  const settle = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));
  if (begins) reader.hear({ relay: 'begin' });
  else toReader.push({ relay: 'begin' });
  return {
    reader: reader.fileSystem,
    async toHost() {
      for (const message of toHost.splice(0)) host.hear(message);
      await settle();
    },
    async toReader() {
      for (const message of toReader.splice(0)) reader.hear(message);
      await settle();
    },
  };
}

const entry = (inode: number) => ({ inode, entryMs: 0, attributesMs: 0 }) as never;

it('hands on who asks and what, and gives back answers and errors', async () => {
  const bed = bedOf({
    async setXattr(from, inode, { name, value }) {
      expect(from).toMatchObject({ uid: 1, gid: 2, processId: 3 });
      expect([inode, [...name], [...value]]).toEqual([7, [1], [2, 3]]);
      throw new HoldfastError('HF_QUOTA', 'too much');
    },
    statistics: () => ({ blockBytes: 4096 }) as never,
    listXattrs: () => {
      throw new TypeError('a bug');
    },
  });
  const xattr = { name: Uint8Array.of(1), value: Uint8Array.of(2, 3), mode: undefined };
  const asked = [
    bed.reader.setXattr(caller, 7, xattr),
    bed.reader.statistics(caller, 1),
    bed.reader.listXattrs(caller, 1),
  ].map(async (each) => await Promise.resolve(each).catch(errorCode));
  await bed.toHost();
  await bed.toReader();
  expect(await Promise.all(asked)).toEqual(['HF_QUOTA', { blockBytes: 4096 }, 'HF_INTERNAL']);
});

it('keeps nothing that a request lends', async () => {
  const written: number[] = [];
  const bed = bedOf({ write: (_, __, { data }) => void written.push(...data) });
  const data = new Uint8Array(10_000).fill(1);
  const rest = { file: 1, offset: 0, isFromCache: false, killsPrivileges: false };
  const writing = bed.reader.write(caller, 1, { ...rest, data });
  data.fill(9);
  await bed.toHost();
  await bed.toReader();
  await writing;
  expect(written.length).toBe(10_000);
  expect(written.every((byte) => byte === 1)).toBe(true);
});

it('asks nothing before the host listens, and loses nothing', async () => {
  const asked: string[] = [];
  const bed = bedOf(
    { readSymlink: () => (asked.push('readSymlink'), Uint8Array.of(5)) },
    {
      begins: false,
    },
  );
  const target = bed.reader.readSymlink(caller, 2);
  await bed.toHost();
  expect(asked).toEqual([]);
  await bed.toReader();
  await bed.toHost();
  await bed.toReader();
  expect(await target).toEqual(Uint8Array.of(5));
});

it('forgets a number, unless an answer that gives it is on its way', async () => {
  const forgotten: number[] = [];
  const bed = bedOf({
    lookup: () => entry(5),
    list: () => [{ entry: entry(6) }] as never,
    forget: (inode) => void forgotten.push(inode),
  });
  const first = bed.reader.lookup(caller, 1, Uint8Array.of(1));
  await bed.toHost();
  await bed.toReader();
  await first;
  const second = bed.reader.lookup(caller, 1, Uint8Array.of(1));
  const listed = bed.reader.list(caller, 1, { file: 1, cookie: 0, withEntries: true });
  await bed.toHost();
  bed.reader.forget(5);
  bed.reader.forget(6);
  await bed.toHost();
  expect(forgotten, 'the kernel is about to hear of them').toEqual([]);
  await bed.toReader();
  await Promise.all([second, listed]);
  bed.reader.forget(5);
  bed.reader.forget(6);
  await bed.toHost();
  expect(forgotten).toEqual([5, 6]);
});
