/**
 * The folder of a node's etcd, in its data directory; only its owner can enter it (0700), which is
 * what protects the sockets in it.
 *
 *     ring.json        the newest record of the ring that this node has seen
 *     own.json         whose data is in etcd/: of which ring and life, since when, whether it ever
 *                      ran, and to which life it is just being restored
 *     etcd/            etcd's data; etcd.life-N: what it was before a ring was restored elsewhere
 *     etcd.json        its configuration
 *     etcd.pid         its process: id, when that started, in which life of the machine
 *     etcd.log         what it says; etcd.log.1 what it said before
 *     <node>:1         sockets: of the own etcd for its peers, and of ways to each other one
 *     client:1         of the own etcd for clients
 *
 * An address of a socket has room for some hundred bytes, and a data directory may lie deep. etcd
 * runs in the folder and uses bare names; this process goes by the folder's descriptor instead.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import { errorMessage, fromUtf8, HoldfastError, utf8 } from '../../base/index.ts';
import { decodeRing, encodeRing, type RingRecord, socketName } from './ring-record.ts';

/** Of `sun_path`, on the systems where it is shortest (104 with the end), and less for safety. */
const SOCKET_PATH_BYTES_MAX = 100;
export const ETCD_DATA = 'etcd';
const RING_FILE = 'ring.json';
const OWN_FILE = 'own.json';

export const CLIENT_SOCKET = socketName('client');

const Own = v.strictObject({
  token: v.string(),
  since: v.number(),
  hasRun: v.boolean(),
  life: v.optional(v.number(), 1),
  restoring: v.optional(v.number()),
});
/** Whose data is in the folder. */
export type OwnData = v.InferOutput<typeof Own>;

export class RingFolder implements AsyncDisposable {
  readonly path: string;
  readonly #handle: fs.FileHandle;

  private constructor(folder: string, handle: fs.FileHandle) {
    this.path = folder;
    this.#handle = handle;
  }

  /** Makes it where there is none. @throws HF_IO. */
  static async open(folder: string): Promise<RingFolder> {
    const full = path.resolve(folder);
    try {
      await fs.mkdir(full, { recursive: true, mode: 0o700 });
      await fs.chmod(full, 0o700);
      return new RingFolder(full, await fs.open(full, 'r'));
    } catch (error) {
      throw new HoldfastError('HF_IO', `the folder ${full}: ${errorMessage(error)}`, {
        cause: error,
      });
    }
  }

  file(name: string): string {
    return path.join(this.path, name);
  }

  /** How this process addresses a socket in the folder. @throws HF_UNSUPPORTED. */
  socket(name: string): string {
    const plain = this.file(name);
    if (Buffer.byteLength(plain) <= SOCKET_PATH_BYTES_MAX) return plain;
    if (process.platform === 'linux') return `/proc/self/fd/${this.#handle.fd}/${name}`;
    const message = `${plain} is too long for a socket; use a data directory with a shorter path`;
    throw new HoldfastError('HF_UNSUPPORTED', message);
  }

  /** `undefined` when there is none, or none that can be read: others have it too. */
  async readRing(): Promise<RingRecord | undefined> {
    const bytes = await this.#read(RING_FILE);
    try {
      return bytes && decodeRing(bytes);
    } catch {
      return undefined;
    }
  }

  async writeRing(record: RingRecord): Promise<void> {
    await this.write(RING_FILE, encodeRing(record));
  }

  async readOwn(): Promise<OwnData | undefined> {
    const bytes = await this.#read(OWN_FILE);
    try {
      return bytes && v.parse(Own, JSON.parse(fromUtf8(bytes)));
    } catch {
      return undefined; // as good as none: what the etcd has is then not trusted
    }
  }

  async writeOwn(own: OwnData): Promise<void> {
    await this.write(OWN_FILE, utf8(`${JSON.stringify(own)}\n`));
  }

  /** Whether etcd has ever promised anything here. */
  async hasData(): Promise<boolean> {
    const names = await fs
      .readdir(this.file(path.join(ETCD_DATA, 'member', 'wal')))
      .catch(ifMissing);
    return (names ?? []).some((name) => name.endsWith('.wal'));
  }

  /** Of etcd's file. */
  async dbBytes(): Promise<number> {
    const file = this.file(path.join(ETCD_DATA, 'member', 'snap', 'db'));
    return (await fs.stat(file).catch(ifMissing))?.size ?? 0;
  }

  /** Lets go of what etcd has; `keepAs`: but for people it stays under that name. */
  async clearData(keepAs?: string): Promise<void> {
    if (keepAs !== undefined && (await this.hasData())) {
      await fs.rm(this.file(keepAs), { recursive: true, force: true });
      await fs.rename(this.file(ETCD_DATA), this.file(keepAs));
    }
    await fs.rm(this.file(ETCD_DATA), { recursive: true, force: true });
    await fs.rm(this.file(OWN_FILE), { force: true });
  }

  async #read(name: string): Promise<Uint8Array | undefined> {
    return await fs.readFile(this.file(name)).catch(ifMissing);
  }

  /** Replaces a file whole, durably. @throws HF_IO. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const temporary = this.file(`${name}.new`);
    try {
      {
        await using file = await fs.open(temporary, 'w', 0o600);
        await file.writeFile(bytes);
        await file.sync();
      }
      await fs.rename(temporary, this.file(name));
      await this.#handle.sync();
    } catch (error) {
      throw new HoldfastError('HF_IO', `${this.file(name)}: ${errorMessage(error)}`, {
        cause: error,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

function ifMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
  throw error;
}
