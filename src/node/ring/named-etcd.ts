/**
 * An etcd that the user runs already and names instead of a ring of our own: where its members
 * listen, and the files for TLS. Nothing of it is ours to start, stop or repair.
 */
import { once } from 'node:events';
import fs from 'node:fs/promises';
import net from 'node:net';
import tls from 'node:tls';
import * as v from 'valibot';
import { errorMessage, fromUtf8, HoldfastError, utf8 } from '../../base/index.ts';
import type { DialEtcd } from '../../log/index.ts';

const ENDPOINTS_MAX = 16;
const DEFAULT_PORT = 2379;

const file = v.optional(v.pipe(v.string(), v.minLength(1)));

const Named = v.strictObject({
  format: v.literal(1),
  endpoints: v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(ENDPOINTS_MAX)),
  authorityFile: file,
  certificateFile: file,
  keyFile: file,
});

export interface NamedEtcd {
  /** "https://10.0.0.5:2379": all members of one etcd. */
  readonly endpoints: readonly string[];
  /** Who vouches for its certificates (PEM); by default those that the system trusts. */
  readonly authorityFile?: string | undefined;
  /** Of this client, with its key (PEM), where etcd asks for one. */
  readonly certificateFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export function encodeNamedEtcd(etcd: NamedEtcd): Uint8Array {
  return utf8(`${JSON.stringify({ format: 1, ...etcd })}\n`);
}

/** @throws HF_BAD_ARGUMENT. */
export function decodeNamedEtcd(bytes: Uint8Array): NamedEtcd {
  try {
    const { format: _, ...etcd } = v.parse(Named, JSON.parse(fromUtf8(bytes)));
    for (const endpoint of etcd.endpoints) parseEndpoint(endpoint);
    return etcd;
  } catch (error) {
    const message = `the etcd that was named: ${errorMessage(error)}`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message, { cause: error });
  }
}

function parseEndpoint(text: string): { host: string; port: number; isTls: boolean } {
  const url = URL.parse(text);
  const isPlain = url && url.pathname === '/' && !url.search && !url.hash && !url.username;
  if (!isPlain || !['http:', 'https:'].includes(url.protocol)) {
    const message = `"${text}" is no address of an etcd, such as https://10.0.0.5:2379`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  const isTls = url.protocol === 'https:';
  // A URL leaves out the port that its scheme usually has; then the text tells.
  const usual = isTls ? 443 : 80;
  const port = Number(url.port) || (text.includes(`:${usual}`) ? usual : DEFAULT_PORT);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port, isTls };
}

/**
 * Ways to its members, for an `EtcdConnection`.
 * @throws HF_BAD_ARGUMENT for what is no address; HF_NOT_FOUND when a file cannot be read.
 */
export async function dialsOf(etcd: NamedEtcd): Promise<readonly DialEtcd[]> {
  const secrets = {
    ca: await read(etcd.authorityFile),
    cert: await read(etcd.certificateFile),
    key: await read(etcd.keyFile),
  };
  return etcd.endpoints.map(parseEndpoint).map(({ host, port, isTls }) => async () => {
    const socket = isTls
      ? tls.connect({ host, port, ...secrets, ...serverName(host), ALPNProtocols: ['h2'] })
      : net.connect({ host, port });
    socket.setNoDelay(true);
    try {
      await once(socket, isTls ? 'secureConnect' : 'connect');
      socket.on('error', () => {}); // 'close' follows
      return socket;
    } catch (error) {
      const message = `etcd on ${host}:${port}: ${errorMessage(error)}`;
      throw new HoldfastError('HF_UNAVAILABLE', message, { cause: error });
    }
  });
}

/** An address is none: it is checked against the certificate without being asked for. */
function serverName(host: string): { servername?: string } {
  return net.isIP(host) === 0 ? { servername: host } : {};
}

async function read(path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  try {
    return await fs.readFile(path);
  } catch (error) {
    const message = `cannot read ${path}: ${errorMessage(error)}`;
    throw new HoldfastError('HF_NOT_FOUND', message, { cause: error });
  }
}
