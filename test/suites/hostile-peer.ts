/**
 * What a hostile peer sends to a node, on real sockets and by hand: it has frames, messages and
 * records of its own making (src/net/frame.ts and member-record.ts say what good ones look like).
 */
import { once } from 'node:events';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { encode } from '@msgpack/msgpack';
import { ByteWriter, LIMITS, xxh64 } from '../../src/base/index.ts';
import { certificateOf, type NetAddress } from '../../src/net/index.ts';
import { keyOf } from './net-bed.ts';

const REQUEST = 1;
const HEADER_BYTES = 17;
const BEACON_GROUP = '239.77.7.7';
const LOOPBACK = '127.0.0.1';
/** Twice what the node gives to a handshake. */
const HANG_UP_MS = 2 * LIMITS.handshakeMsMax;

/** Claims four gigabytes. */
export const OVERSIZED_FRAME = Buffer.from('ffffffff01' + '00'.repeat(12), 'hex');

/** The first bytes of a handshake, and no more. */
export const HANDSHAKE_BEGINNING = Buffer.from('1603010200', 'hex');

export async function rawSocket({ host, port }: NetAddress): Promise<Socket> {
  const socket = connect(port, host).on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** With the key of that number. Nothing that arrives is read before somebody resumes it. */
export async function tlsSocket({ host, port }: NetAddress, number: number): Promise<TLSSocket> {
  const key = keyOf(number);
  const socket = connectTls({
    host,
    port,
    cert: certificateOf(key),
    key: key.privateKey.export({ format: 'pem', type: 'pkcs8' }),
    rejectUnauthorized: false,
    ALPNProtocols: ['holdfast/1'],
  }).on('error', () => {});
  await once(socket, 'secureConnect');
  return socket;
}

/** Reads to the end; also when it is closed already. Rejects when nothing comes for long. */
export async function closed(socket: Socket): Promise<void> {
  socket.resume();
  if (socket.closed) return;
  await new Promise<void>((resolve, reject) => {
    socket.once('close', () => resolve());
    socket.setTimeout(HANG_UP_MS, () => reject(new Error('the node does not hang up')));
  });
}

/** Requests, each a method and its argument, after the hello of a member or a stranger. */
export function requests(
  as: 'member' | 'stranger',
  calls: readonly (readonly [method: string, arg: unknown])[],
): Buffer {
  const hello = {
    version: 1,
    purpose: 'control',
    instance: new Uint8Array(8),
    addresses: [],
    credentials: new Uint8Array(as === 'member' ? 1 : 0),
  };
  const all = [['net.hello', hello] as const, ...calls];
  return Buffer.concat(
    all.map(([method, arg], turn) => request(2 * turn + 1, encode([method, arg, false, 60_000]))),
  );
}

function request(number: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt8(REQUEST, 4);
  frame.writeUInt32LE(number, 5);
  const seed = (BigInt(payload.length * 256 + REQUEST) << 32n) | BigInt(number);
  frame.writeBigUInt64LE(xxh64(payload, seed), 9);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** A record of the node with the key of that number, which has not signed it. */
export function forgedRecord(number: number): Uint8Array {
  const writer = new ByteWriter().u8(1).u16(1).u8(0).u64(Date.now());
  writer.raw(keyOf(number).publicKey).u8(0).u8(0).bytes(new Uint8Array(1));
  return writer.raw(new Uint8Array(64)).finish();
}

export function shareOf(records: readonly Uint8Array[]): readonly [string, unknown] {
  const nothing = new Uint8Array(0);
  return ['gossip.share', { records, entries: nothing, wants: nothing }];
}

/** Hears the beacons of the node that announces itself on this port, and says them again. */
export class BeaconEcho implements Disposable {
  readonly #ear: UdpSocket;
  readonly #mouth: UdpSocket;
  readonly #port: number;
  #latest: Buffer | undefined;

  private constructor(ear: UdpSocket, mouth: UdpSocket) {
    this.#ear = ear;
    this.#mouth = mouth;
    this.#port = ear.address().port;
    // What comes from elsewhere is what the mouth says.
    ear.on('message', (bytes, { port }) => {
      if (port === this.#port) this.#latest = bytes;
    });
  }

  /** On a free port. To be opened before the node is. */
  static async open(): Promise<BeaconEcho> {
    const ear = createSocket({ type: 'udp4', reuseAddr: true }).on('error', () => {});
    const mouth = createSocket('udp4').on('error', () => {});
    ear.bind(0);
    mouth.bind(0, LOOPBACK);
    await Promise.all([once(ear, 'listening'), once(mouth, 'listening')]);
    try {
      ear.addMembership(BEACON_GROUP, LOOPBACK);
      mouth.setMulticastInterface(LOOPBACK);
    } catch {
      // Then nothing is heard: there is no multicast here.
    }
    return new BeaconEcho(ear, mouth);
  }

  get port(): number {
    return this.#port;
  }

  /** The last beacon, if any came. */
  get latest(): Buffer | undefined {
    return this.#latest;
  }

  async say(bytes: Buffer): Promise<void> {
    await new Promise((resolve) => this.#mouth.send(bytes, this.#port, BEACON_GROUP, resolve));
  }

  [Symbol.dispose](): void {
    this.#ear.close();
    this.#mouth.close();
  }
}
