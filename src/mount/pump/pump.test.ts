/**
 * Aim: requests reach the session in their order, whether it waits or not; a slot is read into
 * again only when it was given back; memory that was written off is replaced, and comes back as a
 * spare. Method: both sides of the memory in this thread. The thread itself runs in test/e2e.
 */
import { beforeEach, expect, it } from 'vitest';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { LIMITS } from '../../base/index.ts';
import type { Received } from '../session/slots.ts';
import { Pump } from './pump.ts';
import { PumpMemory } from './pump-memory.ts';

let reader: PumpMemory;
let pump: Pump;

beforeEach(() => {
  const memory = PumpMemory.make();
  reader = PumpMemory.of(memory.shared);
  pump = new Pump(memory, virtualEnv(1).clock);
});

/** As the thread reads a request of one byte. */
function read(byte: number): void {
  const slot = reader.takeNow();
  new Uint8Array(reader.shared.slots)[reader.offsetOf(slot)] = byte;
  if (reader.push(slot, 1)) void pump.wake();
}

async function next(): Promise<Received & { byte: number }> {
  const received = await pump.next();
  return { ...received, byte: received.slot.buffer[0]! };
}

it('brings requests in their order, and then the end', async () => {
  const waiting = next();
  for (const byte of [1, 2, 3]) read(byte);
  expect([(await waiting).byte, (await next()).byte, (await next()).byte]).toEqual([1, 2, 3]);
  read(4);
  pump.end();
  expect((await next()).byte).toBe(4);
  expect((await next()).length).toBe(0);
  expect((await next()).length).toBe(0);
});

it('is woken once, then looks by itself for a while', async () => {
  const env = virtualEnv(2);
  const memory = PumpMemory.make();
  const looking = new Pump(memory, {
    monotonic: () => env.clock.monotonic(),
    turn: () => env.clock.sleep(0.5),
  });
  const push = () => memory.push(memory.takeNow(), 1);
  expect(push(), 'it sleeps').toBe(true);
  const asleep = looking.wake();
  for (let index = 0; index < 3; index++) {
    const received = looking.next();
    if (index > 0) expect(push(), 'it looks').toBe(false);
    expect((await received).length).toBe(1);
  }
  void looking.next();
  await asleep;
  expect(push()).toBe(true);
});

it('reads into a slot again when it was given back', async () => {
  read(1);
  const first = await next();
  read(2);
  expect(first.slot.buffer[0]).toBe(1);
  pump.giveBack(first.slot);
  read(3);
  expect(first.slot.buffer[0]).toBe(3);
});

it('replaces what is written off', async () => {
  const lent: Received[] = [];
  for (let byte = 0; byte < LIMITS.mountSlotsMax; byte++) {
    read(byte);
    lent.push(await next());
  }
  expect(pump.isExhausted).toBe(true);
  const [late] = lent as [Received];
  pump.writeOff(late.slot);
  expect(pump.isExhausted).toBe(false);
  read(99);
  expect(late.slot.buffer[0], 'its file system may still look at it').toBe(0);
  pump.giveBack(late.slot);
  expect(pump.isExhausted, 'it is a spare one now').toBe(true);
  pump.writeOff(lent[1]!.slot);
  read(7);
  expect(late.slot.buffer[0]).toBe(7);
});
