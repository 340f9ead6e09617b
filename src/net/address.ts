/**
 * Where a node listens: `scheme://host:port[/path]`, "tls://10.0.0.7:7450". The scheme names the
 * transport; IPv6 hosts stand in brackets in the text and without them in {@link NetAddress}.
 * Text from peers and users is parsed here and nowhere else.
 */
import { HoldfastError } from '../base/index.ts';

export interface NetAddress {
  readonly scheme: string;
  /** A name or an IP address, without brackets. */
  readonly host: string;
  /** 0 asks a listener for any free port. */
  readonly port: number;
  /** With its leading '/', or empty. */
  readonly path: string;
}

const TEXT_CHARS_MAX = 512;
const PATTERN =
  /^([a-z][a-z0-9+.-]{0,31}):\/\/(?:\[([0-9a-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+)):(\d{1,5})(\/[\w./~-]*)?$/i;

/** @throws HF_BAD_ARGUMENT when the text is no address. */
export function parseAddress(text: string): NetAddress {
  const match = text.length <= TEXT_CHARS_MAX ? PATTERN.exec(text) : null;
  const port = Number(match?.[4]);
  if (!match || port > 65_535) {
    const shown = text.slice(0, 80);
    throw new HoldfastError(
      'HF_BAD_ARGUMENT',
      `"${shown}" is no address; write scheme://host:port, as in tls://10.0.0.7:7450`,
    );
  }
  const host = (match[2] ?? match[3]!).toLowerCase();
  return { scheme: match[1]!.toLowerCase(), host, port, path: match[5] ?? '' };
}

export function formatAddress({ scheme, host, port, path }: NetAddress): string {
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}${path}`;
}
