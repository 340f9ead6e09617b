/** Aim: mounts are read as Linux writes them. Method: lines of /proc/self/mountinfo. */
import { expect, it } from 'vitest';
import { parseMountInfo } from './mount-info.ts';
import { commonOptions, sourceOf } from './mount-options.ts';

it('reads lines with and without optional fields, and what is octal in them', () => {
  const text = [
    '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw',
    String.raw`44 22 0:41 / /mnt/a\040b\134c rw,nosuid - fuse.holdfast holdfast:my\040volume rw`,
    'garbage',
    '',
  ].join('\n');
  expect(parseMountInfo(text)).toEqual([
    { device: '8:1', mountpoint: '/', type: 'ext4', source: '/dev/root' },
    {
      device: '0:41',
      mountpoint: '/mnt/a b\\c',
      type: 'fuse.holdfast',
      source: 'holdfast:my volume',
    },
  ]);
});

it('is careful with options unless told otherwise', () => {
  expect(commonOptions({ name: 'a' })).toEqual([
    'default_permissions',
    'max_read=1048576',
    'rw',
    'nosuid',
    'nodev',
  ]);
  expect(
    commonOptions({ name: 'a', allowsOthers: true, allowsDevices: true, allowsSetUserId: true }),
  ).toEqual(['default_permissions', 'max_read=1048576', 'rw', 'allow_other', 'suid', 'dev']);
});

it.each(['', 'a,b', 'a\nb', 'a\\b'])('a mount cannot be called %j', (name) => {
  expect(() => sourceOf({ name })).toThrow('cannot be called');
});
