/**
 * The control interface on a TCP address. Only loopback ones, until nodes can prove who they are;
 * who connects shows the token of the data directory, which only the node's user can read.
 */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import net from 'node:net';
import { HoldfastError } from '../base/index.ts';

export interface TcpAddress {
  /** An IP address. */
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface TcpOptions extends TcpAddress {
  readonly token: string;
}

/** @throws as {@link checkAddress}; HF_BUSY when the port is taken; HF_DENIED, HF_IO. */
export async function listenOnAddress(server: Server, address: TcpAddress): Promise<void> {
  checkAddress(address);
  const { host, port } = address;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenProblem(address, error)));
    server.listen({ host, port, exclusive: true }, resolve);
  });
}

/** "127.0.0.1:9111", "[::1]:9111" */
export function addressText({ host, port }: TcpAddress): string {
  return net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether a request shows the token; the time that it takes says nothing about it. */
export function showsToken({ headers }: IncomingMessage, token: string): boolean {
  const shown = Buffer.from(headers.authorization ?? '');
  const wanted = Buffer.from(`Bearer ${token}`);
  return shown.length === wanted.length && timingSafeEqual(shown, wanted);
}

/** @throws HF_UNSUPPORTED unless it is a loopback address; HF_BAD_ARGUMENT when it is none. */
export function checkAddress({ host }: TcpAddress): void {
  const family = net.isIP(host);
  if (family === 0) throw new HoldfastError('HF_BAD_ARGUMENT', `"${host}" is no IP address`);
  const loopback = new net.BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  if (loopback.check(host, family === 6 ? 'ipv6' : 'ipv4')) return;
  const message =
    `who has the token is served on 127.0.0.1 or ::1 only, not on ${host}; ` +
    'for other nodes write tls://…';
  throw new HoldfastError('HF_UNSUPPORTED', message);
}

function listenProblem(address: TcpAddress, cause: NodeJS.ErrnoException): HoldfastError {
  const where = addressText(address);
  switch (cause.code ?? '') {
    case 'EADDRINUSE':
      return new HoldfastError('HF_BUSY', `${where} is in use by another program`, { cause });
    case 'EACCES':
      return new HoldfastError('HF_DENIED', `this user may not listen on ${where}`, { cause });
    default:
      return new HoldfastError('HF_IO', `cannot listen on ${where}: ${cause.message}`, { cause });
  }
}
