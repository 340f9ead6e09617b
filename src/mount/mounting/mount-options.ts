/**
 * What a mount is told, and how mount(8) and fusermount3(1) want to hear it. With
 * `default_permissions`, always given, the kernel checks modes and owners by itself.
 * Source: Linux, Documentation/filesystems/fuse.rst; fusermount3(1).
 */
import { HoldfastError, LIMITS } from '../../base/index.ts';

export interface MountOptions {
  /** Shown by mount(8) and df(1) after `holdfast:`. */
  readonly name: string;
  readonly isReadOnly?: boolean;
  /** Other users than the one who mounts may use it, as far as modes let them. */
  readonly allowsOthers?: boolean;
  /** Set-user-id programs are honoured; root alone may say so. */
  readonly allowsSetUserId?: boolean;
  /** Device files work; root alone may say so. */
  readonly allowsDevices?: boolean;
  /** Nothing there is run as a program. */
  readonly forbidsPrograms?: boolean;
}

/** By this the mounts of ours are known. */
export const SOURCE_PREFIX = 'holdfast:';
export const TYPE = 'fuse.holdfast';

/** @throws HF_BAD_ARGUMENT for a name that would end the option. */
export function sourceOf({ name }: MountOptions): string {
  if (!/^[\w.:@/+=~ -]{1,200}$/u.test(name)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `a mount cannot be called ${JSON.stringify(name)}`);
  }
  return SOURCE_PREFIX + name;
}

/** What both programs take. */
export function commonOptions(options: MountOptions): string[] {
  return [
    'default_permissions',
    `max_read=${LIMITS.mountDataBytesMax}`,
    options.isReadOnly ? 'ro' : 'rw',
    ...(options.allowsOthers ? ['allow_other'] : []),
    options.allowsSetUserId ? 'suid' : 'nosuid',
    options.allowsDevices ? 'dev' : 'nodev',
    ...(options.forbidsPrograms ? ['noexec'] : []),
  ];
}
