/**
 * Aim: what blkid says is told in words; a device number is read as the C library packs it.
 * Method: its output, as recorded with util-linux 2.38 and by the names of its manual; device
 * numbers from the definition of gnu_dev_makedev.
 */
import { describe, expect, it } from 'vitest';
import { describeSignature } from './signatures.ts';
import { deviceNumberOf } from './sysfs.ts';

describe('a signature', () => {
  const told: [string, string | undefined][] = [
    ['LABEL=data\nTYPE=ext4\nUSAGE=filesystem', 'an ext4 filesystem "data"'],
    ['LABEL=a\\ b\\"=\\\\c\nTYPE=btrfs\nUSAGE=filesystem', 'a btrfs filesystem "a b"=\\c"'],
    ['LABEL=\u001B[31mred\nTYPE=xfs\nUSAGE=filesystem', 'an xfs filesystem "?[31mred"'],
    ['TYPE=vfat\nUSAGE=filesystem\nPTTYPE=dos', 'a vfat filesystem'],
    ['TYPE=ntfs\nUSAGE=filesystem', 'an ntfs filesystem'],
    ['TYPE=LVM2_member\nUSAGE=raid', 'a member of a RAID or of a volume group (LVM2_member)'],
    ['TYPE=crypto_LUKS\nUSAGE=crypto', 'an encrypted volume (crypto_LUKS)'],
    ['LABEL=sw\nTYPE=swap\nUSAGE=other', 'swap space "sw"'],
    ['TYPE=jbd\nUSAGE=other', 'something of type jbd'],
    ['DEVNAME=/dev/x\nPTUUID=1\nPTTYPE=gpt\n', 'a GPT partition table'],
    ['PTTYPE=dos', 'an MBR partition table'],
    ['DEVNAME=/dev/x1\nPART_ENTRY_SCHEME=gpt\nPART_ENTRY_TYPE=0fc6\n', undefined],
    ['', undefined],
  ];
  for (const [tags, words] of told) {
    it(`is told in words: ${words}`, () => expect(describeSignature(tags)).toBe(words));
  }
});

describe('a device number', () => {
  it('is unpacked, large ones too', () => {
    expect(deviceNumberOf(0x703n)).toEqual({ major: 7, minor: 3 });
    expect(deviceNumberOf(0x11032cn)).toEqual({ major: 259, minor: 300 });
    expect(deviceNumberOf(0x0001_2000_0ff3_45ffn)).toEqual({ major: 0x12345, minor: 0xffff });
  });
});
