/** Addresses as users write them: `-s IP -p PORT`, or `IP:PORT` in one word. */
import { HoldfastError } from '../base/index.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where ddfs's server is when nothing is said. */
export const DEFAULT_HOST = '127.0.0.1';
export const DEFAULT_PORT = '9111';

const PORT_MAX = 65_535;

/** What `-s` and `-p` say; `undefined` when they say nothing. @throws HF_BAD_ARGUMENT. */
export function serverAddress({
  server,
  port,
}: {
  readonly server?: string;
  readonly port?: string;
}): Address | undefined {
  if (server === undefined && port === undefined) return undefined;
  return { host: server ?? DEFAULT_HOST, port: parsePort(port ?? DEFAULT_PORT) };
}

/** @param text `127.0.0.1:9111`, `[::1]:9111` @throws HF_BAD_ARGUMENT. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:]+)):(\d+)$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `"${text}" is no address; write IP:PORT`);
  }
  return { host, port: parsePort(match?.[3] ?? '') };
}

export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** 0 lets the system choose one. */
function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= PORT_MAX) return port;
  throw new HoldfastError('HF_BAD_ARGUMENT', `"${text}" is no port; they go up to ${PORT_MAX}`);
}
