/**
 * Aim: a recovery kit comes back from its printed text, typed in again with other spaces and ends
 * of lines, and every kind of damage has its own line. Method: round trips, damage, random damage.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ClusterId, VolumeId } from '../base/index.ts';
import { errorCode, errorMessage, fromHex, toHex } from '../base/index.ts';
import { decodeRecoveryKit, encodeRecoveryKit, type RecoveryKit } from './index.ts';

const KIT: RecoveryKit = {
  clusterId: '00112233445566778899aabbccddeeff' as ClusterId,
  clusterKey: fromHex('a1'.repeat(32)),
  metadataKey: fromHex('b2'.repeat(32)),
  volumes: [
    {
      id: '0123456789abcdef0123456789abcdef' as VolumeId,
      name: 'Fotos für später',
      secret: fromHex('c3'.repeat(32)),
    },
    {
      id: 'fedcba9876543210fedcba9876543210' as VolumeId,
      name: 'default',
      secret: fromHex('d4'.repeat(32)),
    },
  ],
  storePaths: ['/srv/disk-1', '/mnt/odd\n-----END HOLDFAST RECOVERY KIT'],
  madeAtMs: 1_790_000_000_123,
};
const TEXT = encodeRecoveryKit(KIT);
const LINES = TEXT.split('\n');
const BEGIN_AT = LINES.findIndex((line) => line.startsWith('-----BEGIN'));

function without(index: number): string {
  return LINES.toSpliced(index, 1).join('\n');
}

function refusal(text: string): string | undefined {
  try {
    decodeRecoveryKit(text);
  } catch (error) {
    expect(errorMessage(error)).not.toContain('\n');
    return `${errorCode(error)}: ${errorMessage(error)}`;
  }
  return undefined;
}

describe('a recovery kit', () => {
  it('comes back as it was', () => {
    expect(decodeRecoveryKit(TEXT)).toEqual(KIT);
    const least = { ...KIT, volumes: [], storePaths: [] };
    expect(decodeRecoveryKit(encodeRecoveryKit(least))).toEqual(least);
  });

  it('can be printed and explains itself', () => {
    expect(TEXT).toMatch(/^[\x20-\x7e\n]+$/);
    expect(LINES.every((line) => line.length <= 90)).toBe(true);
    expect(TEXT).toContain('holdfast up --recover FILE');
    expect(TEXT).toContain(KIT.clusterId);
    expect(TEXT).toContain('"/srv/disk-1"');
    expect(TEXT).toContain('2026-09-');
  });

  it('shows no key in the words for people', () => {
    const words = LINES.slice(0, BEGIN_AT).join('\n');
    for (const key of [KIT.clusterKey, KIT.metadataKey, KIT.volumes[0]!.secret]) {
      expect(words).not.toContain(toHex(key).slice(0, 8));
    }
  });

  it('comes back from its lines alone, typed with other spaces', () => {
    const typed = LINES.slice(BEGIN_AT).map((line) => `  ${line.replaceAll(' ', '  ')} \r`);
    const spaced = [LINES[BEGIN_AT]!, '', ...typed.slice(1, -2), LINES.at(-2)!];
    expect(decodeRecoveryKit(spaced.join('\n'))).toEqual(KIT);
    expect(decodeRecoveryKit(TEXT.replaceAll('\n', '\r\n'))).toEqual(KIT);
  });

  it('is told from other texts', () => {
    expect(refusal('hello')).toBe('HF_WRONG_KEY: this is not a recovery kit');
    expect(refusal(TEXT.replace('KIT 1-----', 'KIT 2-----'))).toMatch(/^HF_UNSUPPORTED/);
  });

  it('says of each damage what it is', () => {
    expect(refusal('')).toMatch(/^HF_CORRUPT: .*empty/);
    expect(refusal(without(BEGIN_AT))).toMatch(/^HF_CORRUPT: .*BEGIN line/);
    expect(refusal(without(LINES.length - 2))).toMatch(/^HF_CORRUPT: .*cut short/);
    expect(refusal(without(BEGIN_AT + 2))).toMatch(/^HF_CORRUPT: .*line 2 is missing/);
    expect(refusal(without(LINES.length - 3))).toMatch(/^HF_CORRUPT: .*missing at its end/);
    const third = LINES[BEGIN_AT + 3]!;
    const mistyped = third.slice(0, 20) + (third[20] === 'x' ? 'y' : 'x') + third.slice(21);
    expect(refusal(TEXT.replace(third, mistyped))).toMatch(/^HF_CORRUPT: .*line 3 .*mistyped/);
  });

  it('never opens to another kit, whatever one character becomes', () => {
    const position = fc.integer({ min: 0, max: TEXT.length - 1 });
    fc.assert(
      fc.property(position, fc.integer({ min: 10, max: 126 }), (index, unit) => {
        const text = TEXT.slice(0, index) + String.fromCharCode(unit) + TEXT.slice(index + 1);
        const code = refusal(text)?.split(':')[0];
        if (code === undefined) expect(decodeRecoveryKit(text)).toEqual(KIT);
        else expect(['HF_CORRUPT', 'HF_WRONG_KEY', 'HF_UNSUPPORTED']).toContain(code);
      }),
      { numRuns: 500 },
    );
  });

  it('never opens cut anywhere before its END line', () => {
    for (let end = 0; end < TEXT.length - 1; end += 7) {
      expect(refusal(TEXT.slice(0, end)), `cut to ${end}`).toBeDefined();
    }
  });

  it('cannot be made of short keys', () => {
    expect(() => encodeRecoveryKit({ ...KIT, clusterKey: new Uint8Array(3) })).toThrow(/32 bytes/);
  });
});
