/**
 * An etcd that the user runs already and *names* instead of a ring of our own: where its members
 * listen, what proves both sides to each other (PEM), and how our keys in it begin. Nothing of it
 * is ours to start, stop, change or repair; it is looked at only (named-look.ts).
 *
 * It is a part of the record of the ring, so every metadata node has it, with the key of the
 * client: in the registry it is sealed, on each of them it lies in a file that only its user reads.
 */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import * as v from 'valibot';
import { errorMessage, HoldfastError } from '../../base/index.ts';
import { type DialEtcd, ETCD_PREFIX } from '../../log/index.ts';

const ENDPOINTS_MAX = 9;
const DEFAULT_PORT = 2379;
const PREFIX = /^[\w.:/-]{1,100}\/$/;
/** A dial that nobody answers ends. */
const DIAL_MS = 5000;
const PEM_CHARS_MAX = 65_536;

const pem = v.optional(v.pipe(v.string(), v.includes('-----BEGIN'), v.maxLength(PEM_CHARS_MAX)));

export const StoredNamedEtcd = v.strictObject({
  endpoints: v.pipe(
    v.array(v.pipe(v.string(), v.check(isEndpoint, 'no address of an etcd'))),
    v.minLength(1),
    v.maxLength(ENDPOINTS_MAX),
  ),
  prefix: v.pipe(v.string(), v.regex(PREFIX)),
  authority: pem,
  certificate: pem,
  key: pem,
});

export interface NamedEtcd {
  /** "https://10.0.0.5:2379": all members of one etcd. */
  readonly endpoints: readonly string[];
  /** Of all our keys in it; ends in '/'. */
  readonly prefix: string;
  /** Who vouches for its certificates (PEM); by default the authorities that Node knows. */
  readonly authority?: string | undefined;
  /** Of this client (PEM), with its key, where etcd asks for one. */
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

/** What the user says of it. */
export interface NamedEtcdWish {
  readonly endpoints: readonly string[];
  readonly prefix?: string | undefined;
  readonly authority?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** Whether http may be spoken beyond this machine: all of it can be read and changed then. */
  readonly isPlainAllowed?: boolean | undefined;
}

interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** @throws HF_BAD_ARGUMENT, saying what is wrong. */
export function namedEtcd({ isPlainAllowed = false, ...wish }: NamedEtcdWish): NamedEtcd {
  const { endpoints, prefix = ETCD_PREFIX, authority, certificate, key } = wish;
  for (const endpoint of endpoints) {
    const found = parseEndpoint(endpoint);
    if (!found) throw bad(`"${endpoint}" is no address of an etcd, such as https://10.0.0.5:2379`);
    if (found.isTls || isPlainAllowed || isLoopback(found.host)) continue;
    throw bad(`${endpoint} would be spoken to in the clear: use https, or say --allow-plain-http`);
  }
  if (!PREFIX.test(prefix)) throw bad(`"${prefix}" is no prefix of keys, such as holdfast/home/`);
  if ((certificate === undefined) !== (key === undefined)) {
    throw bad('a certificate of the client goes with its key: --cert and --key');
  }
  const isTls = endpoints.some((endpoint) => parseEndpoint(endpoint)?.isTls);
  if (!isTls && (authority ?? certificate) !== undefined) {
    throw bad('certificates are of use with https only');
  }
  const named = { endpoints: [...new Set(endpoints)], prefix };
  const secrets = Object.entries({ authority, certificate, key }).filter(([, pem]) => pem);
  const checked = v.safeParse(StoredNamedEtcd, { ...named, ...Object.fromEntries(secrets) });
  if (checked.success) return checked.output;
  const [{ message }] = checked.issues;
  throw bad(`the etcd that was named: ${message}`);
}

function bad(message: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', message);
}

function isEndpoint(text: string): boolean {
  return parseEndpoint(text) !== undefined;
}

function parseEndpoint(text: string): Endpoint | undefined {
  const url = URL.parse(text);
  const isPlain = url && url.pathname === '/' && !url.search && !url.hash && !url.username;
  if (!isPlain || !['http:', 'https:'].includes(url.protocol)) return undefined;
  const isTls = url.protocol === 'https:';
  // A URL leaves out the port that its scheme usually has; then the text tells.
  const usual = isTls ? 443 : 80;
  const port = Number(url.port) || (text.includes(`:${usual}`) ? usual : DEFAULT_PORT);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port, isTls };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (net.isIPv4(host) && host.startsWith('127.'));
}

/** The ways to its members, in their order, for an `EtcdConnection`. */
export function dialsOf(named: NamedEtcd): readonly DialEtcd[] {
  return named.endpoints.map((text) => {
    const endpoint = parseEndpoint(text)!; // as it was checked when it was named
    return () => dial(text, endpoint, named);
  });
}

async function dial(text: string, { host, port, isTls }: Endpoint, named: NamedEtcd) {
  const { authority: ca, certificate: cert, key } = named;
  let socket: net.Socket | undefined;
  try {
    const name = net.isIP(host) === 0 ? { servername: host } : {};
    socket = isTls
      ? tls.connect({ host, port, ca, cert, key, ...name, ALPNProtocols: ['h2'] })
      : net.connect({ host, port });
    socket.setNoDelay(true);
    const signal = AbortSignal.timeout(DIAL_MS);
    await once(socket, isTls ? 'secureConnect' : 'connect', { signal });
    socket.on('error', () => {}); // 'close' follows
    return socket;
  } catch (error) {
    socket?.on('error', () => {}).destroy();
    throw new HoldfastError('HF_UNAVAILABLE', `${text}: ${reasonOf(error)}`, { cause: error });
  }
}

const UNVOUCHED = /^(SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(VERIFY|GET)|CERT_(UNTRUSTED|SIGNATURE))/;

function reasonOf(error: unknown): string {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (UNVOUCHED.test(code)) return 'no authority that is known vouches for it; name its CA: --ca';
  return errorMessage(error);
}
