/**
 * Mounting without being root: fusermount3(1), which is set-user-id, mounts and sends the
 * descriptor of the connection over a Unix socket. Node can neither make a pair of sockets nor
 * receive a descriptor, so the optional library koffi calls the C library for us: three functions,
 * once a mount. Source: fusermount3(1), cmsg(3), recvmsg(2).
 */
import fs from 'node:fs/promises';
import { errorCode, HoldfastError } from '../../base/index.ts';
import { commonOptions, type MountOptions, sourceOf } from './mount-options.ts';
import { DEVICE, deviceMissing } from './fuse-device.ts';
import { completed, PASSED, start } from './programs.ts';

/** What of koffi is used; its types are not there when it is not. */
interface Koffi {
  load(library: string | null): {
    func(name: string, result: string, parameters: readonly unknown[]): ForeignFunction;
  };
  struct(fields: Readonly<Record<string, unknown>>): unknown;
  pointer(type: unknown): unknown;
  inout(type: unknown): unknown;
}

interface ForeignFunction {
  (...words: unknown[]): number;
  async(...words: [...unknown[], (error: Error | null, result: number) => void]): void;
}

// Linux.
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const LIBRARY: string = 'koffi';
/** After a control message's length (8 bytes), level and type (4 each) comes the descriptor. */
const CONTROL_BYTES = 24;
const DESCRIPTOR_AT = 16;

/** @throws HF_UNSUPPORTED when something is not installed, HF_DENIED, HF_IO. */
export async function attachByHelper(mountpoint: string, options: MountOptions): Promise<number> {
  await checkDevice();
  const sockets = new Sockets(await loadKoffi());
  try {
    const words = ['fsname=' + sourceOf(options), 'subtype=holdfast', ...commonOptions(options)];
    const helper = start({
      name: 'fusermount3',
      words: ['-o', words.join(','), '--', mountpoint],
      descriptor: sockets.theirs,
      environment: { _FUSE_COMMFD: String(PASSED) },
    });
    // Without this the end of a helper that fails would not be noticed.
    sockets.closeTheirs();
    const received = sockets.receiveDescriptor();
    received.catch(() => undefined); // what the helper itself complains of says more
    await completed('fusermount3', helper).catch((error: unknown) => {
      throw errorCode(error) === 'HF_UNSUPPORTED' ? helperMissing(error) : error;
    });
    return await received;
  } finally {
    sockets.close();
  }
}

/** The helper opens it with the user's own rights. */
async function checkDevice(): Promise<void> {
  try {
    await fs.access(DEVICE, fs.constants.R_OK | fs.constants.W_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw deviceMissing(error);
    const message = `${DEVICE} is closed to this user; root opens it to all: chmod 0666 ${DEVICE}`;
    throw new HoldfastError('HF_DENIED', message, { cause: error });
  }
}

function helperMissing(cause: unknown): HoldfastError {
  const message =
    'to mount without being root needs fusermount3, which is not installed (package fuse3)';
  return new HoldfastError('HF_UNSUPPORTED', message, { cause });
}

async function loadKoffi(): Promise<Koffi> {
  try {
    return ((await import(LIBRARY)) as { default: Koffi }).default;
  } catch (error) {
    const message = 'to mount without being root needs the library koffi: npm install koffi';
    throw new HoldfastError('HF_UNSUPPORTED', message, { cause: error });
  }
}

class Sockets {
  readonly #ours: number;
  readonly theirs: number;
  readonly #receive: ForeignFunction;
  readonly #close: ForeignFunction;

  constructor(koffi: Koffi) {
    const library = koffi.load(null);
    const part = koffi.struct({ base: 'void *', bytes: 'size_t' });
    const message = koffi.struct({
      name: 'void *',
      nameBytes: 'uint32_t',
      parts: koffi.pointer(part),
      partCount: 'size_t',
      control: 'void *',
      controlBytes: 'size_t',
      flags: 'int',
    });
    const messageInOut = koffi.inout(koffi.pointer(message));
    this.#receive = library.func('recvmsg', 'long', ['int', messageInOut, 'int']);
    this.#close = library.func('close', 'int', ['int']);
    const pair = new Int32Array(2);
    const makePair = library.func('socketpair', 'int', ['int', 'int', 'int', 'void *']);
    const status = makePair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    if (status !== 0) throw new HoldfastError('HF_IO', 'no pair of sockets could be made');
    [this.#ours, this.theirs] = [pair[0]!, pair[1]!];
  }

  async receiveDescriptor(): Promise<number> {
    const content = Buffer.alloc(1);
    const control = Buffer.alloc(CONTROL_BYTES);
    const message = {
      name: null,
      nameBytes: 0,
      parts: [{ base: content, bytes: content.length }],
      partCount: 1,
      control,
      controlBytes: control.length,
      flags: 0,
    };
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#receive.async(this.#ours, message, MSG_CMSG_CLOEXEC, (error, bytes) =>
      error ? reject(error) : resolve(bytes),
    );
    const receivedBytes = await promise;
    const controlBytes = control.readUInt32LE(0);
    if (receivedBytes < 1 || controlBytes < DESCRIPTOR_AT) {
      throw new HoldfastError('HF_IO', 'fusermount3 sent no descriptor');
    }
    return control.readInt32LE(DESCRIPTOR_AT);
  }

  closeTheirs(): void {
    this.#close(this.theirs);
  }

  close(): void {
    this.#close(this.#ours);
  }
}
