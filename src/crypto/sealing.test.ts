/**
 * Aim: sealed content is exactly the documented bytes, opens in whole and in part, and nothing but
 * what was sealed opens. Method: an independent opener built from the description alone; properties
 * over lengths, pieces and ranges; alterations of every kind must be HF_FORGED.
 */
import { createDecipheriv, createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  asBuffer,
  concatBytes,
  errorCode,
  fromHex,
  KiB,
  LIMITS,
  toHex,
  utf8,
} from '../base/index.ts';
import {
  digest,
  openSegments,
  padContent,
  paddedBytes,
  sealContent,
  sealedBytes,
  segmentRange,
  stripeKey,
} from './index.ts';

const FORMAT = 1;
const SEGMENT_BYTES = 64 * KiB;
const SEALED_SEGMENT_BYTES = SEGMENT_BYTES + 16;
const KEY = fromHex('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f');
const OTHER_KEY = Uint8Array.from(KEY, (byte) => byte ^ 1);

function patterned(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => (index * 31 + (index >> 8)) % 251);
}

function seal(content: Uint8Array, key = KEY): Uint8Array {
  const target = new Uint8Array(sealedBytes(content.length));
  sealContent({ content, key, format: FORMAT, target });
  return target;
}

function open(sealed: Uint8Array, options: { key?: Uint8Array; format?: number } = {}): Uint8Array {
  const count = Math.ceil(sealed.length / SEALED_SEGMENT_BYTES);
  const target = new Uint8Array(sealed.length - 16 * count);
  const { key = KEY, format = FORMAT } = options;
  openSegments({ sealed, sealedBytes: sealed.length, key, format, target });
  return target;
}

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
  return undefined;
}

/** HMAC-SHA256 from RFC 2104's definition. */
function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  const sha256 = (...parts: Uint8Array[]) =>
    createHash('sha256')
      .update(concatBytes(...parts))
      .digest();
  const block = new Uint8Array(64);
  block.set(key);
  const inner = sha256(
    block.map((byte) => byte ^ 0x36),
    message,
  );
  return sha256(
    block.map((byte) => byte ^ 0x5c),
    inner,
  );
}

/** Content lengths in whole paddings, up to a little over three segments. */
const paddedContent = fc
  .integer({ min: 1, max: 50 })
  .map((count) => patterned(count * LIMITS.paddingBytes));

describe('sizes', () => {
  it('pads to 4 KiB and adds 16 bytes for each begun 64 KiB', () => {
    expect(paddedBytes(1)).toBe(4096);
    expect(paddedBytes(4096)).toBe(4096);
    expect(paddedBytes(4097)).toBe(8192);
    expect(sealedBytes(1)).toBe(4096 + 16);
    expect(sealedBytes(SEGMENT_BYTES)).toBe(SEGMENT_BYTES + 16);
    expect(sealedBytes(SEGMENT_BYTES + 1)).toBe(SEGMENT_BYTES + 4096 + 32);
    expect(sealedBytes(LIMITS.stripeBytesMax)).toBe(LIMITS.stripeBytesMax + 160 * 16);
  });

  it('pads in place with zeros', () => {
    const buffer = new Uint8Array(9000).fill(7);
    const padded = padContent(buffer, 4097);
    expect(padded.buffer).toBe(buffer.buffer);
    expect(padded.length).toBe(8192);
    expect(padded.subarray(0, 4097).every((byte) => byte === 7)).toBe(true);
    expect(padded.subarray(4097).every((byte) => byte === 0)).toBe(true);
    expect(buffer.subarray(8192).every((byte) => byte === 7)).toBe(true);
  });
});

describe('the sealed bytes', () => {
  it('are what an opener made from the description expects', () => {
    const content = patterned(2 * SEGMENT_BYTES + 4096);
    const sealed = seal(content);
    const nonces = [
      '000000000000000000000000',
      '000000000000000100000000',
      '000000000000000200000001',
    ];
    const opened = nonces.map((nonce, index) => {
      const segment = sealed
        .subarray(index * SEALED_SEGMENT_BYTES)
        .subarray(0, SEALED_SEGMENT_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', KEY, fromHex(nonce));
      decipher.setAAD(fromHex('0000000100000003'));
      decipher.setAuthTag(segment.subarray(-16));
      return concatBytes(decipher.update(segment.subarray(0, -16)), decipher.final());
    });
    expect(asBuffer(concatBytes(...opened)).equals(content)).toBe(true);
  });

  it('never change: the format is frozen', () => {
    const sealed = seal(patterned(SEGMENT_BYTES + 4096));
    expect(createHash('sha256').update(sealed).digest('hex')).toBe(
      '6363f18cb54567945294e6fbc935a1a50a0bbeb734bb4057705d39e517195432',
    );
  });

  it('may be scattered over pieces; what is left of them is zeroed', () => {
    const cut = fc.integer({ min: 700, max: 100_000 });
    fc.assert(
      fc.property(paddedContent, cut, (content, pieceBytes) => {
        const whole = seal(content);
        const pieceCount = Math.ceil(whole.length / pieceBytes) + 1;
        const pieces = Array.from({ length: pieceCount }, () => new Uint8Array(pieceBytes).fill(9));
        sealContent({ content, key: KEY, format: FORMAT, target: pieces });
        const joined = asBuffer(concatBytes(...pieces));
        expect(joined.subarray(0, whole.length).equals(whole)).toBe(true);
        expect(joined.subarray(whole.length).every((byte) => byte === 0)).toBe(true);
        const target = new Uint8Array(content.length);
        const sealed = { sealed: pieces, sealedBytes: whole.length };
        openSegments({ ...sealed, key: KEY, format: FORMAT, target });
        expect(asBuffer(target).equals(content)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it('may lie over the content, in shared memory, both ways', () => {
    const content = patterned(3 * SEGMENT_BYTES + 4096);
    const gapBytes = 64;
    const area = new Uint8Array(new SharedArrayBuffer(sealedBytes(content.length)));
    area.set(content, gapBytes);
    const overlaid = area.subarray(gapBytes, gapBytes + content.length);
    sealContent({ content: overlaid, key: KEY, format: FORMAT, target: area });
    expect(asBuffer(area).equals(seal(content))).toBe(true);
    const options = { sealed: area, sealedBytes: area.length, key: KEY, format: FORMAT };
    openSegments({ ...options, target: area });
    expect(asBuffer(area).subarray(0, content.length).equals(content)).toBe(true);
  });

  it('are refused a target without room, and content that is not padded', () => {
    const target = new Uint8Array(4096);
    const use = { key: KEY, format: FORMAT };
    expect(() => sealContent({ ...use, content: new Uint8Array(4096), target })).toThrow(/room/);
    expect(() => sealContent({ ...use, content: new Uint8Array(100), target })).toThrow(/padded/);
  });
});

describe('ranges', () => {
  it('open from their own segments alone', () => {
    const cases = fc
      .integer({ min: 1, max: 4 * SEGMENT_BYTES })
      .chain((contentBytes) =>
        fc
          .integer({ min: 0, max: contentBytes - 1 })
          .chain((offset) =>
            fc.tuple(
              fc.constant({ contentBytes, offset }),
              fc.integer({ min: 1, max: contentBytes - offset }),
            ),
          ),
      );
    const plain = patterned(4 * SEGMENT_BYTES);
    fc.assert(
      fc.property(cases, ([{ contentBytes, offset }, lengthBytes]) => {
        const padded = padContent(plain.slice(0, paddedBytes(contentBytes)), contentBytes);
        const whole = seal(padded);
        const range = segmentRange({ contentBytes, offset, lengthBytes });
        const end = range.sealedOffset + range.sealedBytes;
        const sealed = whole.subarray(range.sealedOffset, end);
        const target = new Uint8Array(range.openedBytes);
        openSegments({
          sealed,
          sealedBytes: whole.length,
          key: KEY,
          format: FORMAT,
          target,
          range,
        });
        const start = offset - range.contentOffset;
        const wanted = plain.subarray(offset, offset + lengthBytes);
        expect(
          asBuffer(target)
            .subarray(start, start + lengthBytes)
            .equals(wanted),
        ).toBe(true);
        expect(range.openedBytes).toBeLessThan(lengthBytes + 2 * SEGMENT_BYTES);
      }),
      { numRuns: 60 },
    );
  });
});

describe('what is not what was sealed', () => {
  const content = patterned(2 * SEGMENT_BYTES + 4096);
  const sealed = seal(content);
  const segment = (index: number) =>
    sealed.subarray(index * SEALED_SEGMENT_BYTES, (index + 1) * SEALED_SEGMENT_BYTES);

  it('is refused for any one altered byte', () => {
    const small = seal(patterned(4096));
    for (let index = 0; index < small.length; index++) {
      small[index]! ^= 1 << (index % 8);
      expect(
        codeOf(() => open(small)),
        `byte ${index}`,
      ).toBe('HF_FORGED');
      small[index]! ^= 1 << (index % 8);
    }
    expect(codeOf(() => open(small))).toBeUndefined();
  });

  it('is refused for altered bytes anywhere in several segments', () => {
    const position = fc.integer({ min: 0, max: sealed.length - 1 });
    fc.assert(
      fc.property(position, fc.integer({ min: 1, max: 255 }), (index, change) => {
        const altered = sealed.slice();
        altered[index]! ^= change;
        expect(codeOf(() => open(altered))).toBe('HF_FORGED');
      }),
    );
  });

  it('is refused under another key or format', () => {
    expect(codeOf(() => open(sealed, { key: OTHER_KEY }))).toBe('HF_FORGED');
    expect(codeOf(() => open(sealed, { format: 2 }))).toBe('HF_FORGED');
  });

  it('is refused when segments are swapped, repeated or left out', () => {
    const [first, second, last] = [segment(0), segment(1), segment(2)];
    expect(codeOf(() => open(concatBytes(second, first, last)))).toBe('HF_FORGED');
    expect(codeOf(() => open(concatBytes(first, first, last)))).toBe('HF_FORGED');
    expect(codeOf(() => open(concatBytes(first, last)))).toBe('HF_FORGED');
  });

  it('is refused when cut, at segments or within', () => {
    const lengths = [1, 16, 17, 4096, sealed.length - 1, 2 * SEALED_SEGMENT_BYTES + 16];
    for (const length of [...lengths, SEALED_SEGMENT_BYTES, 2 * SEALED_SEGMENT_BYTES]) {
      const target = new Uint8Array(content.length);
      const cut = { sealed: sealed.subarray(0, length), key: KEY, format: FORMAT, target };
      expect(
        codeOf(() => openSegments({ ...cut, sealedBytes: length })),
        `to ${length}`,
      ).toBe('HF_FORGED');
      expect(codeOf(() => openSegments({ ...cut, sealedBytes: sealed.length }))).toBe('HF_FORGED');
    }
  });

  it('is refused as a last segment that is none, and the other way round', () => {
    // One segment of three, passed off as a stripe of its own and as the last of two.
    const alone = { key: KEY, format: FORMAT, target: new Uint8Array(SEGMENT_BYTES) };
    for (const index of [0, 1, 2]) {
      const each = { ...alone, sealed: segment(index), sealedBytes: segment(index).length };
      expect(codeOf(() => openSegments(each))).toBe('HF_FORGED');
    }
    const range = { firstSegment: 1, segmentCount: 1 };
    const asLast = { ...alone, sealed: segment(1), sealedBytes: 2 * SEALED_SEGMENT_BYTES, range };
    expect(codeOf(() => openSegments(asLast))).toBe('HF_FORGED');
    const asMiddle = { ...asLast, sealedBytes: sealed.length };
    expect(codeOf(() => openSegments(asMiddle))).toBeUndefined();
  });

  it('is refused as a range past the end', () => {
    const range = { firstSegment: 2, segmentCount: 2 };
    const target = new Uint8Array(2 * SEGMENT_BYTES);
    const past = { sealed, sealedBytes: sealed.length, key: KEY, format: FORMAT, target, range };
    expect(codeOf(() => openSegments(past))).toBe('HF_FORGED');
  });

  it('is not written to the target', () => {
    const altered = sealed.slice();
    altered[SEALED_SEGMENT_BYTES + 5]! ^= 1;
    const target = new Uint8Array(content.length);
    const options = { sealed: altered, sealedBytes: altered.length, key: KEY, format: FORMAT };
    expect(codeOf(() => openSegments({ ...options, target }))).toBe('HF_FORGED');
    expect(target.subarray(SEGMENT_BYTES).every((byte) => byte === 0)).toBe(true);
  });
});

describe('the key that follows from the content', () => {
  const secret = fromHex('ff'.repeat(32));
  const contentDigest = digest(patterned(4096));

  it('is the HMAC of its description (RFC 4231, case 2, vouches for the test’s own HMAC)', () => {
    expect(toHex(hmac(utf8('Jefe'), utf8('what do ya want for nothing?')))).toBe(
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    );
    const message = concatBytes(utf8('stripe/1'), fromHex('00000001'), contentDigest);
    expect(toHex(stripeKey({ secret, format: 1, contentDigest }))).toBe(
      toHex(hmac(secret, message)),
    );
  });

  it('is another for another secret, format or content', () => {
    const keys = [
      stripeKey({ secret, format: 1, contentDigest }),
      stripeKey({ secret: KEY, format: 1, contentDigest }),
      stripeKey({ secret, format: 2, contentDigest }),
      stripeKey({ secret, format: 1, contentDigest: digest(patterned(8192)) }),
    ];
    expect(new Set(keys.map(toHex)).size).toBe(keys.length);
  });
});
