/**
 * A key file or recovery kit as n texts, any k of which restore it and fewer of which say nothing:
 * Shamir, "How to share a secret", 1979, over GF(2^8) modulo 0x11b, byte by byte.
 *
 *     holdfast-key-share-1 <set> <k> <number> <bytes in base64url> <checksum, 8 digits>
 *
 * A *set* is one split of one secret, 8 digits. The shared bytes are the secret and the first 8
 * bytes of its SHA-256, so that a false combination is noticed.
 */
import { createHash } from 'node:crypto';
import { assert, bytesEqual, HoldfastError, toHex } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import { shareField } from './share-field.ts';

const TITLE = 'holdfast-key-share-1';
const SET_BYTES = 4;
const PROOF_BYTES = 8;
const SECRET_BYTES_MAX = 65_536;
const SHARES_MAX = 255;

/** @returns n lines without line feeds. @throws HF_BAD_ARGUMENT, HF_TOO_LARGE. */
export function splitSecret(
  secret: Uint8Array,
  scheme: {
    readonly k: number;
    readonly n: number;
    readonly random: Pick<Random, 'bytes'>;
  },
): string[] {
  const { k, n, random } = scheme;
  if (!(k >= 1 && k <= n && n <= SHARES_MAX)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `1 ≤ k ≤ n ≤ ${SHARES_MAX} must hold`);
  }
  if (secret.length === 0) throw new HoldfastError('HF_BAD_ARGUMENT', 'there is nothing to split');
  if (secret.length > SECRET_BYTES_MAX) {
    throw new HoldfastError('HF_TOO_LARGE', 'keys and kits are small; this is something else');
  }
  const set = toHex(random.bytes(SET_BYTES));
  const constant = Buffer.concat([secret, proofOf(secret)]);
  const polynomial = [
    constant,
    ...Array.from({ length: k - 1 }, () => random.bytes(constant.length)),
  ];
  const field = shareField(1);
  return Array.from({ length: n }, (_, index) => {
    const x = index + 1;
    // Horner's rule, all bytes at once.
    const value = polynomial.reduceRight(
      (sum, coefficients) => sum.map((byte, at) => field.multiply(byte, x) ^ coefficients[at]!),
      Buffer.alloc(constant.length),
    );
    return formatShare({ set, k, number: x, value });
  });
}

interface KeyShare {
  readonly set: string;
  readonly k: number;
  readonly number: number;
  readonly value: Uint8Array;
}

/**
 * @param lines of share texts; empty ones are passed over, and one that is given twice counts once.
 * @param names where each line is, for messages.
 * @throws HF_CORRUPT for a mistyped line, HF_BAD_ARGUMENT when they are not of one set,
 *   HF_TOO_FEW_SHARDS.
 */
export function combineSecret(
  lines: readonly string[],
  names: readonly string[] = lines.map((_, index) => `line ${index + 1}`),
): Uint8Array {
  const shares = lines.flatMap((line, index) => {
    const text = line.trim();
    return text === '' ? [] : [{ ...parseShare(text, names[index]!), name: names[index]! }];
  });
  const [first] = shares;
  if (!first) throw new HoldfastError('HF_BAD_ARGUMENT', 'give the lines of some key shares');
  const { set, k } = first;
  const other = shares.find((share) => share.set !== set || share.k !== k);
  if (other) {
    const message = `${first.name} is of set ${set}, ${other.name} of ${other.set}`;
    throw new HoldfastError('HF_BAD_ARGUMENT', `${message}; give those of one`);
  }
  const distinct = [...new Map(shares.map((share) => [share.number, share])).values()];
  if (distinct.length < k) {
    throw new HoldfastError('HF_TOO_FEW_SHARDS', `have ${distinct.length}, need ${k}`);
  }
  const constant = valueAtZero(distinct.slice(0, k));
  const secret = constant.subarray(0, -PROOF_BYTES);
  if (!bytesEqual(proofOf(secret), constant.subarray(-PROOF_BYTES))) {
    throw new HoldfastError('HF_CORRUPT', 'these shares do not belong together');
  }
  return secret;
}

/** Lagrange's interpolation at 0, where subtraction is XOR. */
function valueAtZero(shares: readonly KeyShare[]): Uint8Array {
  const field = shareField(1);
  const sum = new Uint8Array(shares[0]!.value.length);
  for (const { number, value } of shares) {
    let weight = 1;
    for (const { number: other } of shares) {
      if (other === number) continue;
      weight = field.multiply(weight, field.multiply(other, field.inverse(other ^ number)));
    }
    for (const [at, byte] of value.entries()) sum[at]! ^= field.multiply(weight, byte);
  }
  return sum;
}

function formatShare({ set, k, number, value }: KeyShare): string {
  const text = `${TITLE} ${set} ${k} ${number} ${Buffer.from(value).toString('base64url')}`;
  return `${text} ${checksumOf(text)}`;
}

function parseShare(line: string, name: string): KeyShare {
  const words = line.split(/\s+/);
  const [title, set = '', k = '', number = '', value = '', checksum] = words;
  if (title !== TITLE) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `${name} is no key share`);
  }
  if (words.length !== 6 || checksum !== checksumOf(words.slice(0, -1).join(' '))) {
    const message = `the key share in ${name} is damaged or mistyped`;
    throw new HoldfastError('HF_CORRUPT', message);
  }
  const share = {
    set,
    k: Number(k),
    number: Number(number),
    value: Buffer.from(value, 'base64url'),
  };
  assert(share.value.length > PROOF_BYTES, 'a share with a right checksum has bytes');
  return share;
}

function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

function proofOf(secret: Uint8Array): Uint8Array {
  return createHash('sha256').update(secret).digest().subarray(0, PROOF_BYTES);
}
