/**
 * Aim: inline content is sealed as documented, opens for its inode and volume alone, and shows no
 * more than its inode says. Method: Node's own functions open what was sealed; bytes are altered.
 */
import { createDecipheriv, hkdfSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, errorCode, fromHex, utf8, type VolumeId } from '../base/index.ts';
import { volumeKeys } from '../crypto/index.ts';
import { realEnv } from '../env/index.ts';
import { InodeSeals } from './inode-seals.ts';

const VOLUME = '0123456789abcdef'.repeat(2) as VolumeId;
const KEYS = volumeKeys(new Uint8Array(32).fill(5));
const INODE = (2n << 52n) + 7n;

function sealsOf(volume = VOLUME, keys = KEYS): InodeSeals {
  return new InodeSeals({ env: realEnv(), volume, keys });
}

function codeOf(open: () => unknown): string | undefined {
  try {
    return void open();
  } catch (error) {
    return errorCode(error);
  }
}

describe('inline content', () => {
  it('is sealed as documented', () => {
    const content = utf8('small');
    const sealed = sealsOf().sealedContent(INODE, content);
    const info = `holdfast/1 inline content ${INODE}`;
    const salt = new Uint8Array();
    const key = new Uint8Array(hkdfSync('sha256', KEYS.attributeKey, salt, info, 32));
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12));
    decipher.setAAD(concatBytes(fromHex(VOLUME), utf8(`content ${INODE}`)));
    decipher.setAuthTag(sealed.subarray(-16));
    const opened = concatBytes(decipher.update(sealed.subarray(12, -16)), decipher.final());
    expect(opened).toEqual(content);
  });

  it('opens for its inode alone, as far as it is seen', () => {
    const seals = sealsOf();
    const property = fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), (content, number) => {
      const sealed = seals.sealedContent(INODE, content);
      const lengthBytes = number % (content.length + 1);
      const seen = seals.openedContent(INODE, { sealed, lengthBytes });
      expect(Buffer.compare(seen, content.subarray(0, lengthBytes))).toBe(0);
      const longer = { sealed, lengthBytes: content.length + 1 };
      expect(codeOf(() => seals.openedContent(INODE, longer))).toBe('HF_CORRUPT');
      const whole = { sealed, lengthBytes };
      const at = number % sealed.length;
      const altered = { sealed: sealed.with(at, sealed[at]! ^ 1), lengthBytes };
      const others = [
        () => seals.openedContent(INODE + 1n, whole),
        () => seals.openedContent(INODE, altered),
        () => seals.openedContent(INODE, { ...whole, sealed: sealed.subarray(1) }),
        () => sealsOf('f'.repeat(32) as VolumeId).openedContent(INODE, whole),
        () => sealsOf(VOLUME, volumeKeys(new Uint8Array(32))).openedContent(INODE, whole),
      ];
      for (const open of others) expect(codeOf(open)).toBe('HF_FORGED');
    });
    fc.assert(property, { numRuns: 100 });
  });
});
