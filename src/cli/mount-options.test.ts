/** Aim: options of a mount are read as mount(8) has them. Method: lines of fstab, and others. */
import { expect, it } from 'vitest';
import { choicesText, mountChoices } from './mount-options.ts';

it.each([
  ['', 'rw'],
  ['defaults', 'rw'],
  ['ro,allow_other', 'ro,allow_other'],
  ['ro,rw', 'rw'],
  ['rw,noexec,nosuid,nodev,user=somebody', 'rw,noexec'],
  ['noexec,exec', 'rw'],
  ['nolock', 'rw,nolock'],
  ['nolock,lock', 'rw'],
  ['_netdev,nofail,noauto,noatime,x-systemd.requires=holdfast.service,comment=a,ro', 'ro'],
])('%j is %j', (text, shown) => {
  expect(choicesText(mountChoices(text))).toBe(shown);
});

it.each(['suid', 'dev', 'sync', 'remount', 'size=1G', 'constructor', 'xattr'])(
  '%j is refused, unless what is unknown is passed over',
  (word) => {
    expect(() => mountChoices(`ro,${word}`)).toThrow(`"${word}" is no option of a mount`);
    expect(choicesText(mountChoices(`ro,${word}`, { isSloppy: true }))).toBe('ro');
  },
);
