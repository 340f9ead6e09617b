/**
 * How another thread of this process gets the attention of one that sleeps in the kernel: it sets a
 * flag in shared memory, and then makes a request to the mount, any, so that the sleeper comes
 * back, sees the flag and lets its messages in. What there is to say is posted before.
 */
import fs from 'node:fs/promises';

/** Memory for the flag; both threads get it. */
export function newWake(): SharedArrayBuffer {
  return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
}

/** Said by the other thread. Resolves when the request was served. @throws what statfs(2) says. */
export async function wakeMount(wake: SharedArrayBuffer, mountpoint: string): Promise<void> {
  Atomics.store(new Int32Array(wake), 0, 1);
  await fs.statfs(mountpoint); // never answered from the kernel's cache
}

/** Whether somebody wants attention; takes the flag down. */
export function takeWake(flag: Int32Array): boolean {
  return Atomics.load(flag, 0) === 1 && Atomics.exchange(flag, 0, 0) === 1;
}
