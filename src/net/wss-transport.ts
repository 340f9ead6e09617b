/**
 * WebSocket on TLS, for networks that let nothing else through: `wss://host:port/path`. Identity is
 * that of the TLS below, as with `tls:`, so a proxy must pass TLS through. Each message is a piece
 * of the byte stream; where one ends means nothing.
 */
import { createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws';
import { errorMessage, HoldfastError, LIMITS, type NodeId } from '../base/index.ts';
import type { NodeKey } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import { HEADER_BYTES } from './frame.ts';
import { TlsIdentity } from './tls-identity.ts';
import type { Transport } from './types.ts';

/** What a browser or proxy expects inside such a connection. */
const PROTOCOL = 'http/1.1';
const SUBPROTOCOL = 'holdfast.1';
const PATH = '/holdfast';

/** One write of a Mux is one message. */
const WEB_SOCKET = {
  perMessageDeflate: false,
  maxPayload: LIMITS.messageBytesMax + HEADER_BYTES,
} as const;

export function wssTransport({ env, key }: { env: Env; key: NodeKey }): Transport {
  const identity = new TlsIdentity(key, env.metrics);
  return {
    scheme: 'wss',
    async listen(address, onPeer) {
      const remotes = new WeakMap<Duplex, NodeId>();
      const http = createServer();
      const path = address.path || PATH;
      const sockets = new WebSocketServer({ server: http, path, ...WEB_SOCKET });
      sockets.on('connection', (webSocket, request) => {
        const remote = remotes.get(request.socket);
        if (remote === undefined) return webSocket.terminate();
        onPeer({ duplex: streamOf(webSocket), remote });
      });
      return await identity.listen(address, PROTOCOL, (socket, remote) => {
        remotes.set(socket, remote);
        // The server of HTTP has no port of its own; it is handed sockets. Its own limits on the
        // time and size of a request's head bound who sends nothing.
        http.emit('connection', socket);
      });
    },
    async dial(address, options) {
      const { socket, remote } = await identity.dial(address, { ...options, protocol: PROTOCOL });
      const path = address.path || PATH;
      // TLS is done already, with the identity checks; so no `wss:` here.
      const webSocket = new WebSocket(`ws://holdfast${path}`, SUBPROTOCOL, {
        createConnection: () => socket,
        ...WEB_SOCKET,
      });
      await opened(webSocket, options.signal);
      return { duplex: streamOf(webSocket), remote };
    },
  };
}

function streamOf(webSocket: WebSocket): Duplex {
  const stream = createWebSocketStream(webSocket, { highWaterMark: LIMITS.dataFrameBytesMax });
  // A WebSocket is never half open.
  stream.once('end', () => stream.destroy());
  return stream;
}

function opened(webSocket: WebSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      webSocket.terminate();
      reject(new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal.reason }));
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    webSocket.once('open', () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    webSocket.on('error', (error) => {
      signal.removeEventListener('abort', onAbort);
      reject(new HoldfastError('HF_UNAVAILABLE', errorMessage(error), { cause: error }));
    });
  });
}
