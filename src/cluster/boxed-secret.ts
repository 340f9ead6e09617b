/**
 * A 32-byte secret on its way to one member, as a value of the registry:
 *
 *     u8 1 | box of the secret, for the box key of the node's certificate
 *
 * The registry sees boxes. Whoever holds a secret may give it on; a box does not say who made it.
 */
import { ByteReader, ByteWriter } from '../base/index.ts';
import {
  BOX_OVERHEAD_BYTES,
  type BoxKey,
  type Certificate,
  KEY_BYTES,
  sealBox,
} from '../crypto/index.ts';
import type { Env } from '../env/index.ts';

const RECORD_VERSION = 1;

/** @param about what the secret is for; the box opens only together with the same bytes. */
export function boxedSecret(
  { random }: Pick<Env, 'random'>,
  to: Pick<Certificate, 'boxKey'>,
  { about, secret }: { readonly about: Uint8Array; readonly secret: Uint8Array },
): Uint8Array {
  const randomBytes = random.bytes(KEY_BYTES);
  const box = sealBox({ to: to.boxKey, randomBytes, about, secret });
  return new ByteWriter().u8(RECORD_VERSION).raw(box).finish();
}

/** @throws HF_CORRUPT, HF_FORGED. */
export function openBoxedSecret(value: Uint8Array, boxKey: BoxKey, about: Uint8Array): Uint8Array {
  const reader = new ByteReader(value, 'boxed secret');
  if (reader.u8() !== RECORD_VERSION) throw reader.corrupt('its version is not known');
  const box = reader.raw(KEY_BYTES + BOX_OVERHEAD_BYTES);
  reader.end();
  return boxKey.open({ box, about });
}
