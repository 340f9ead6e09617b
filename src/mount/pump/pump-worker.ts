/**
 * The thread that reads a mount: it sleeps in the kernel, puts each request into shared memory, and
 * tells the thread that answers, which replies to the kernel by itself.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/index.ts';
import { KernelDevice } from '../session/device.ts';
import { SLOT_BYTES } from '../session/slots.ts';
import { PumpMemory } from './pump-memory.ts';
import type { PumpOrder } from './pump-order.ts';

const { descriptor, shared } = workerData as PumpOrder;
assert(parentPort, 'this module runs in a worker thread');
const memory = PumpMemory.of(shared);
const device = new KernelDevice(descriptor);
const slots = Array.from({ length: memory.slotCount }, (_, number) =>
  Buffer.from(shared.slots, memory.offsetOf(number), SLOT_BYTES),
);
for (;;) {
  const number = memory.takeNow();
  const length = device.receiveNow(slots[number]!);
  if (length === 0) break; // the mount is gone; whoever answers closes the descriptor
  if (memory.push(number, length)) parentPort.postMessage('wake');
}
