/**
 * The file system in memory with places where things go wrong, for tests with the real kernel:
 * directories called `never…` are not made until somebody gives up, those called `forever…` not
 * even then; files called `never…` are not read, and reads of `later…` take a moment. It does what
 * it is told by messages.
 */
import { parentPort } from 'node:worker_threads';
import { assert, HoldfastError } from '../../src/base/index.ts';
import { realEnv } from '../../src/env/index.ts';
import type {
  Caller,
  Entry,
  FileSystemModule,
  NewFile,
  OpenFile,
  ReadRequest,
} from '../../src/mount/index.ts';
import { MemoryFileSystem } from './memory-file-system.ts';
import { keyOf } from './memory-inode.ts';

/** From the test: changes a file behind the kernel's back, and has the kernel told. */
export interface Change {
  readonly inode: number;
  readonly text: string;
}

/** To the test. */
export type Told = 'waiting' | 'givenUp' | 'changed';

const LATER_MS = 30;
const env = realEnv();

class HauntedFileSystem extends MemoryFileSystem {
  readonly #names = new Map<number, string>();

  override create(caller: Caller, parent: number, file: NewFile): Entry & OpenFile {
    const name = keyOf(file.name);
    const created = super.create(caller, parent, file);
    this.#names.set(created.inode, name);
    return created;
  }

  override makeDirectory(...request: Parameters<MemoryFileSystem['makeDirectory']>): Entry {
    const [{ signal }, , { name }] = request;
    // What is asked of this file system may be a promise; the one it extends has none.
    if (keyOf(name).startsWith('forever')) return forever() as unknown as Entry;
    if (keyOf(name).startsWith('never')) return givenUp(signal) as unknown as Entry;
    return super.makeDirectory(...request);
  }

  override read(caller: Caller, inode: number, request: ReadRequest) {
    const name = this.#names.get(inode) ?? '';
    if (name.startsWith('never')) return givenUp(caller.signal);
    const content = super.read(caller, inode, request);
    return name.startsWith('later') ? env.clock.sleep(LATER_MS).then(() => content) : content;
  }

  async change({ inode, text }: Change): Promise<void> {
    const data = Buffer.from(text);
    const caller = { uid: 0, gid: 0, processId: 0, signal: new AbortController().signal };
    const request = { file: 0, offset: 0, data, isFromCache: false, killsPrivileges: false };
    this.write(caller, inode, request);
    await this.kernel!.invalidateInode(inode, { offset: 0, lengthBytes: 0 });
    tell('changed');
  }
}

async function givenUp(signal: AbortSignal): Promise<never> {
  tell('waiting');
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
  tell('givenUp');
  throw new HoldfastError('HF_INTERRUPTED');
}

async function forever(): Promise<never> {
  tell('waiting');
  return await new Promise(() => {});
}

function tell(told: Told): void {
  parentPort?.postMessage(told);
}

export const openFileSystem: FileSystemModule['openFileSystem'] = async () => {
  const fileSystem = new HauntedFileSystem();
  assert(parentPort, 'this runs in a worker');
  parentPort.on('message', (change: Change) => void fileSystem.change(change));
  return { env, fileSystem, async [Symbol.asyncDispose]() {} };
};
