/**
 * TLS 1.3 between nodes, for every transport that runs on it: both ends show a certificate of their
 * own node key, nobody else vouches for it, and the id is read from the key that was proven.
 * Resumption is off: a resumed session would not prove anything.
 */
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import {
  connect,
  createSecureContext,
  createServer,
  type SecureContext,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls';
import { assert, errorMessage, HoldfastError, LIMITS, type NodeId } from '../base/index.ts';
import type { NodeKey } from '../crypto/index.ts';
import type { Metrics } from '../env/index.ts';
import type { NetAddress } from './address.ts';
import { certificateOf, nodeIdOfCertificate } from './certificate.ts';
import { HalfOpen } from './half-open.ts';
import type { DialOptions, Listener } from './types.ts';

/** Measured in order of speed with AES instructions: 1470, 1392, 1070 MB/s. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** Bytes that a socket takes before it asks the writer to wait. (The types do not know it.) */
const SOCKET_BUFFER: object = { highWaterMark: LIMITS.dataFrameBytesMax };

export class TlsIdentity {
  readonly #options: SecureContextOptions;
  /** One for all dials; a server makes its own. */
  readonly #context: SecureContext;
  readonly #metrics: Metrics;

  constructor(key: NodeKey, metrics: Metrics) {
    this.#metrics = metrics;
    this.#options = {
      cert: certificateOf(key),
      key: key.privateKey.export({ format: 'pem', type: 'pkcs8' }),
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
    this.#context = createSecureContext(this.#options);
  }

  /** A socket to whoever listens there, with its proven id. Errors as of Transport.dial. */
  async dial(
    { host, port }: NetAddress,
    { expect, signal, protocol }: DialOptions & { readonly protocol: string },
  ): Promise<{ socket: TLSSocket; remote: NodeId }> {
    if (signal.aborted) throw new HoldfastError('HF_INTERRUPTED');
    const socket = connect({
      host,
      port,
      secureContext: this.#context,
      ALPNProtocols: [protocol],
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...SOCKET_BUFFER,
    });
    socket.setNoDelay(true);
    await connected(socket, signal);
    const remote = socket.alpnProtocol === protocol ? remoteOf(socket) : undefined;
    if (remote === undefined || (expect !== undefined && remote !== expect)) {
      socket.destroy();
      this.#metrics.add('net_refused', 1, { why: 'identity' });
      const text = `${host}:${port} is ${remote ?? 'no node'}, not ${expect ?? 'a node'}`;
      throw new HoldfastError('HF_DENIED', text);
    }
    return { socket, remote };
  }

  /**
   * A listening server.
   * @param onSocket called once the id is proven; it owns the socket.
   */
  async listen(
    address: NetAddress,
    protocol: string,
    onSocket: (socket: TLSSocket, remote: NodeId) => void,
  ): Promise<Listener> {
    const halfOpen = new HalfOpen(this.#metrics);
    /** Sockets that have not proven an id, by the end they come from. */
    const unknown = new Map<string, { readonly socket: Socket; readonly letGo: () => void }>();
    const server = createServer({
      ...this.#options,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: [protocol],
      handshakeTimeout: LIMITS.handshakeMsMax,
      ...SOCKET_BUFFER,
      noDelay: true,
    });
    server.on('connection', (socket: Socket) => {
      const letGo = halfOpen.admit(socket.remoteAddress ?? '');
      if (!letGo) return void socket.destroy();
      const end = endOf(socket);
      unknown.set(end, { socket, letGo });
      socket.once('close', () => {
        letGo();
        if (unknown.get(end)?.socket === socket) unknown.delete(end);
      });
    });
    server.on('tlsClientError', (_error, socket) => {
      this.#metrics.add('net_refused', 1, { why: 'handshake' });
      socket.destroy();
    });
    server.on('secureConnection', (socket) => {
      unknown.get(endOf(socket))?.letGo();
      unknown.delete(endOf(socket));
      socket.on('error', () => {}); // its owner listens too; this one is never late
      const remote = socket.alpnProtocol === protocol ? remoteOf(socket) : undefined;
      if (remote !== undefined) return onSocket(socket, remote);
      this.#metrics.add('net_refused', 1, { why: 'identity' });
      socket.destroy();
    });
    await listening(server, address);
    return listenerOf(server, address, () => {
      for (const { socket } of unknown.values()) socket.destroy();
    });
  }
}

function remoteOf(socket: TLSSocket): NodeId | undefined {
  return nodeIdOfCertificate(socket.getPeerX509Certificate());
}

function connected(socket: TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      socket.destroy();
      reject(new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal.reason }));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    socket.on('error', (error) => {
      signal.removeEventListener('abort', onAbort);
      reject(new HoldfastError('HF_UNAVAILABLE', errorMessage(error), { cause: error }));
    });
    socket.once('close', () => reject(new HoldfastError('HF_UNAVAILABLE', 'hung up')));
  });
}

function listening(server: Server, { host, port }: NetAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      const why = isTaken ? 'the port is taken' : errorMessage(error);
      const text = `cannot listen on ${host}:${port}: ${why}`;
      const code = isTaken ? 'HF_BUSY' : 'HF_UNAVAILABLE';
      reject(new HoldfastError(code, text, { cause: error }));
    });
    server.listen(port, host, () => resolve());
  });
}

function endOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

/** Closing stops to listen; connections that were handed over live on. */
function listenerOf(server: Server, address: NetAddress, dropUnknown: () => void): Listener {
  const bound = server.address();
  assert(bound !== null && typeof bound === 'object', 'a server on TCP has a port');
  server.on('error', () => {}); // accept may fail when files run out; the next one may not
  return {
    address: { ...address, port: bound.port },
    async [Symbol.asyncDispose]() {
      server.close();
      dropUnknown();
    },
  };
}
