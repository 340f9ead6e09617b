/**
 * Aim: access control lists are read as Linux writes them, what is none is refused, and list and
 * mode say the same. Method: a list as setfacl(1) has made it, broken ones, and any list by
 * generated entries.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode } from '../../base/index.ts';
import {
  type Acl,
  encodeAcl,
  isMinimal,
  modeOfAcl,
  modeUnder,
  modeWithoutList,
  parseAcl,
  withMode,
} from './acl.ts';

/** `setfacl -m u:3000:rw` of a file with mode 0644, on ext4: getfattr -e base64. */
const VECTOR = 'AgAAAAEABgD/////AgAGALgLAAAEAAQA/////xAABgD/////IAAEAP////8=';
const NOBODY = 0xffff_ffff;

const entry = (tag: number, permissions: number, id: number = NOBODY) => ({ tag, permissions, id });
const LIST: Acl = [entry(1, 6), entry(2, 6, 3000), entry(4, 4), entry(16, 6), entry(32, 4)];
const PLAIN: Acl = [entry(1, 7), entry(4, 5), entry(32, 0)];

const refused = (bytes: Uint8Array): unknown => {
  try {
    return parseAcl(bytes);
  } catch (error) {
    return errorCode(error);
  }
};

describe('the format', () => {
  it('is that of Linux', () => {
    const bytes = Uint8Array.from(Buffer.from(VECTOR, 'base64'));
    expect(parseAcl(bytes)).toEqual(LIST);
    expect(encodeAcl(LIST)).toEqual(bytes);
  });

  it('without entries is no list', () => {
    expect(parseAcl(encodeAcl([]))).toBeUndefined();
  });

  it.each<[string, Acl]>([
    ['a tag that is not known', [...PLAIN, entry(64, 0)]],
    ['permissions that are none', [entry(1, 8), entry(4, 5), entry(32, 0)]],
    ['no owner', [entry(4, 5), entry(32, 0)]],
    ['no group', [entry(1, 7), entry(32, 0)]],
    ['nobody else', [entry(1, 7), entry(4, 5)]],
    ['two owners', [entry(1, 7), entry(1, 7), entry(4, 5), entry(32, 0)]],
    ['a wrong order', [entry(1, 7), entry(4, 5), entry(2, 5, 1), entry(16, 7), entry(32, 0)]],
    ['a name without a mask', [entry(1, 7), entry(2, 5, 1), entry(4, 5), entry(32, 0)]],
  ])('refuses %s', (_, acl) => {
    expect(refused(encodeAcl(acl))).toBe('HF_BAD_ARGUMENT');
  });

  it('refuses what is cut, and another version', () => {
    const bytes = encodeAcl(LIST);
    for (const length of [0, 3, 5, bytes.length - 1]) {
      expect(refused(bytes.subarray(0, length)), `${length}`).toBe('HF_BAD_ARGUMENT');
    }
    bytes[0] = 3;
    expect(refused(bytes)).toBe('HF_BAD_ARGUMENT');
  });

  it('is a list, or refused, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const parsed = refused(bytes);
        if (Array.isArray(parsed)) expect(encodeAcl(parsed as Acl)).toEqual(bytes);
        else expect([undefined, 'HF_BAD_ARGUMENT']).toContain(parsed);
      }),
    );
  });
});

describe('a mode', () => {
  it('is what owner, mask and others say; without a mask, the group', () => {
    expect(modeOfAcl(LIST)).toBe(0o664);
    expect(modeOfAcl(PLAIN)).toBe(0o750);
    expect([isMinimal(LIST), isMinimal(PLAIN)]).toEqual([false, true]);
  });

  it('that is changed changes the list, but for whom it names', () => {
    fc.assert(
      fc.property(fc.constantFrom(LIST, PLAIN), fc.nat(0o777), (acl, mode) => {
        const changed = withMode(acl, mode);
        expect(modeOfAcl(changed)).toBe(mode);
        const rest = (each: Acl) => each.filter(({ tag }) => tag === 2 || tag === 8);
        expect(rest(changed)).toEqual(rest(acl));
      }),
    );
    expect(withMode(LIST, 0o600).find(({ tag }) => tag === 4)?.permissions).toBe(4);
  });

  it('of what is made below a default list is no more than both say', () => {
    expect(modeUnder(LIST, 0o666)).toBe(0o664);
    expect(modeUnder(PLAIN, 0o2777)).toBe(0o2750);
    expect(modeWithoutList(LIST, 0o2664)).toBe(0o2644);
  });
});
