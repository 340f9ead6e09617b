/** The kernel's side of the protocol for tests: makes requests out of fields, reads replies. */
import { realEnv } from '../../src/env/index.ts';
import {
  type FileSystem,
  IN_HEADER,
  INIT_IN_EXTENDED,
  OPCODES,
  type OpcodeName,
  OUT_HEADER,
  Session,
  type SessionParts,
} from '../../src/mount/index.ts';
import { FakeDevice } from './fake-device.ts';

/** What Linux 6.18 offers. */
const LINUX_FLAGS = 0x73ff_fffb;
const LINUX_FLAGS_2 = 0x5fd;

type Fields = Readonly<Record<string, number | bigint>>;
type AnyStruct = Readonly<Record<string, number | undefined>> & { readonly bytes: number };

export interface Asked {
  readonly inode?: number;
  readonly struct?: AnyStruct;
  readonly fields?: Fields;
  /** Ended by a NUL each. */
  readonly names?: readonly (string | Uint8Array)[];
  readonly data?: Uint8Array;
  readonly caller?: { readonly uid?: number; readonly gid?: number; readonly processId?: number };
}

export class Answered {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** 0, or positive. */
  get errno(): number {
    return 0 - this.bytes.readInt32LE(OUT_HEADER.error);
  }

  get body(): Buffer {
    return this.bytes.subarray(OUT_HEADER.bytes);
  }

  /** A field of the struct that begins at `from` in the body. */
  u32(at: number, from = 0): number {
    return this.body.readUInt32LE(from + at);
  }

  u64(at: number, from = 0): number {
    return Number(this.body.readBigInt64LE(from + at));
  }
}

export class FakeKernel {
  readonly device = new FakeDevice();
  readonly session: Session;
  readonly ended: Promise<void>;
  #lastUnique = 0;

  constructor(fileSystem: FileSystem, parts: Partial<SessionParts> = {}) {
    this.session = new Session({
      env: realEnv(),
      device: this.device,
      fileSystem,
      wishes: { writebackCache: false, locks: fileSystem.locks !== undefined },
      patience: { deadlineMs: 60_000, deadlineErrno: 110, isDying: () => false },
      ...parts,
    });
    this.ended = this.session.run();
    this.ended.catch(() => undefined);
  }

  /** One that has agreed already. */
  static async serving(
    fileSystem: FileSystem,
    parts: Partial<SessionParts> = {},
  ): Promise<FakeKernel> {
    const kernel = new FakeKernel(fileSystem, parts);
    await kernel.init();
    return kernel;
  }

  async init(fields: Fields = {}): Promise<Answered> {
    const version = { major: 7, minor: 45, readaheadBytesMax: 131_072 };
    const flags = { flags: LINUX_FLAGS, flags2: LINUX_FLAGS_2 };
    return await this.ask('init', {
      struct: INIT_IN_EXTENDED,
      fields: { ...version, ...flags, ...fields },
      data: new Uint8Array(44),
    });
  }

  /** The unique number that the next request gets. */
  get nextUnique(): number {
    return this.#lastUnique + 2;
  }

  async ask(opcode: OpcodeName | number, asked: Asked = {}): Promise<Answered> {
    const unique = (this.#lastUnique += 2);
    const reply = await this.device.ask(unique, this.#request(opcode, unique, asked));
    if (reply.readUInt32LE(0) !== reply.length) throw new Error('the length of a reply is wrong');
    return new Answered(reply);
  }

  /** What gets no reply. */
  tell(opcode: OpcodeName | number, asked: Asked = {}): void {
    this.device.tell(this.#request(opcode, (this.#lastUnique += 2), asked));
  }

  #request(opcode: OpcodeName | number, unique: number, asked: Asked): Buffer {
    const { inode = 1, struct, fields = {}, names = [], data = Buffer.alloc(0) } = asked;
    const { uid = 0, gid = 0, processId = 4242 } = asked.caller ?? {};
    const body = Buffer.concat([
      struct ? pack(struct, fields) : Buffer.alloc(0),
      ...names.flatMap((name) => [Buffer.from(name), Buffer.alloc(1)]),
      data,
    ]);
    const header = pack(IN_HEADER, {
      length: IN_HEADER.bytes + body.length,
      opcode: typeof opcode === 'number' ? opcode : OPCODES[opcode],
      unique,
      inode,
      uid,
      gid,
      processId,
    });
    return Buffer.concat([header, body]);
  }

  /** The mount goes away. */
  async end(): Promise<void> {
    this.device.end();
    await this.ended;
  }
}

/** A struct out of its fields; how wide each is follows from where the next one begins. */
function pack(struct: AnyStruct, fields: Fields): Buffer {
  const packed = Buffer.alloc(struct.bytes);
  const places = Object.entries(struct).filter(([name]) => name !== 'bytes');
  for (const [index, [name, at]] of places.entries()) {
    const value = fields[name];
    const width = (places[index + 1]?.[1] ?? struct.bytes) - at!;
    if (value === undefined) continue;
    if (width === 8) packed.writeBigInt64LE(BigInt.asIntN(64, BigInt(value)), at);
    else packed.writeUInt32LE(Number(value), at);
  }
  return packed;
}
