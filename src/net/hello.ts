/** The first words on a connection, as they travel; see `Hello` in types.ts. */
import { HoldfastError, LIMITS, errorCode } from '../base/index.ts';
import { formatAddress, type NetAddress, parseAddress } from './address.ts';
import type { Hello, Purpose } from './types.ts';

export const HELLO_METHOD = 'net.hello';
export const INSTANCE_BYTES = 8;

const VERSION = 1;
const CREDENTIALS_BYTES_MAX = 16 * 1024;

/** What a listener says back. A stranger is told nothing but that it is one. */
export interface HelloReply {
  readonly youAre: 'member' | 'stranger';
  readonly hello: Hello;
}

export function helloMessage(hello: Hello): unknown {
  const { purpose, instance, addresses, credentials } = hello;
  return {
    version: VERSION,
    purpose,
    instance,
    addresses: addresses.map(formatAddress),
    credentials,
  };
}

/** @throws HF_BAD_ARGUMENT */
export function readHello(message: unknown): Hello {
  const { version, purpose, instance, addresses, credentials } = fieldsOf(message);
  if (version !== VERSION) throw bad(`version ${String(version)} is not spoken here`);
  if (!isPurpose(purpose)) throw bad('its purpose is not known');
  if (!(instance instanceof Uint8Array) || instance.length !== INSTANCE_BYTES) {
    throw bad('its instance is not well formed');
  }
  if (!(credentials instanceof Uint8Array) || credentials.length > CREDENTIALS_BYTES_MAX) {
    throw bad('its credentials are not well formed');
  }
  // Views of what has arrived; a hello is kept for long.
  return {
    purpose,
    instance: new Uint8Array(instance),
    addresses: readAddresses(addresses),
    credentials: new Uint8Array(credentials),
  };
}

export function helloReplyMessage({ youAre, hello }: HelloReply): unknown {
  return { youAre, hello: helloMessage(hello) };
}

/** @throws HF_BAD_ARGUMENT */
export function readHelloReply(message: unknown): HelloReply {
  const { youAre, hello } = fieldsOf(message);
  if (youAre !== 'member' && youAre !== 'stranger') throw bad('its verdict is not known');
  return { youAre, hello: readHello(hello) };
}

/** What a stranger sees. */
export function blankHello(purpose: Purpose): Hello {
  const nothing = new Uint8Array(0);
  return { purpose, instance: new Uint8Array(INSTANCE_BYTES), addresses: [], credentials: nothing };
}

/** Those that are addresses; a newer node may name schemes in forms that are not known here. */
export function readAddresses(value: unknown): NetAddress[] {
  if (!Array.isArray(value)) throw bad('its addresses are not well formed');
  return value.slice(0, LIMITS.addressesPerNodeMax).flatMap((text: unknown) => {
    try {
      return typeof text === 'string' ? [parseAddress(text)] : [];
    } catch (error) {
      if (errorCode(error) !== 'HF_BAD_ARGUMENT') throw error;
      return [];
    }
  });
}

function isPurpose(value: unknown): value is Purpose {
  return value === 'control' || value === 'bulk' || value === 'prompt';
}

function fieldsOf(message: unknown): Record<string, unknown> {
  if (typeof message === 'object' && message !== null) return message as Record<string, unknown>;
  throw bad('it is no map');
}

function bad(reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', `a hello was refused: ${reason}`);
}
