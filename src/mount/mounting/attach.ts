/**
 * Puts a FUSE connection onto a mountpoint and takes it off. Root hands its descriptor of /dev/fuse
 * to mount(8); others ask fusermount3(1), which mounts for them and sends a descriptor back.
 */
import fs from 'node:fs';
import process from 'node:process';
import { DEVICE, deviceMissing } from './fuse-device.ts';
import { attachByHelper } from './helper.ts';
import { commonOptions, type MountOptions, sourceOf, TYPE } from './mount-options.ts';
import { PASSED, run } from './programs.ts';

/** @returns a descriptor of the connection. @throws HF_DENIED, HF_UNSUPPORTED, HF_IO. */
export async function attach(mountpoint: string, options: MountOptions): Promise<number> {
  return isRoot()
    ? await attachAsRoot(mountpoint, options)
    : await attachByHelper(mountpoint, options);
}

async function attachAsRoot(mountpoint: string, options: MountOptions): Promise<number> {
  const descriptor = openDevice();
  const { mode } = fs.statSync(mountpoint);
  const own = [
    `fd=${PASSED}`,
    `rootmode=${(mode & fs.constants.S_IFMT).toString(8)}`,
    `user_id=${process.getuid!()}`,
    `group_id=${process.getgid!()}`,
  ];
  const words = [...own, ...commonOptions(options)].join(',');
  try {
    await run({
      name: 'mount',
      // -i: no helper for this type, which would be libfuse's.
      words: ['-i', '-t', TYPE, '-o', words, '--', sourceOf(options), mountpoint],
      descriptor,
    });
    return descriptor;
  } catch (error) {
    fs.closeSync(descriptor);
    throw error;
  }
}

function openDevice(): number {
  try {
    return fs.openSync(DEVICE, 'r+');
  } catch (error) {
    throw deviceMissing(error);
  }
}

/** Has everything written that was closed, or written to what is open. */
export async function flush(mountpoint: string): Promise<void> {
  await run({ name: 'sync', words: ['-f', '--', mountpoint] });
}

/**
 * @param isLazy takes it out of sight even when somebody uses it; it ends when nobody does.
 * @throws HF_BUSY.
 */
export async function detach(mountpoint: string, isLazy: boolean): Promise<void> {
  await run(detachProgram(mountpoint, isLazy));
}

export function detachProgram(mountpoint: string, isLazy: boolean) {
  return isRoot()
    ? { name: 'umount', words: ['-i', ...(isLazy ? ['-l'] : []), '--', mountpoint] }
    : { name: 'fusermount3', words: ['-u', ...(isLazy ? ['-z'] : []), '--', mountpoint] };
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
