/**
 * Loaded into a daemon under test before anything else (NODE_OPTIONS=--import=…), in its main
 * thread and its workers: its wall clock is wrong by as many ms as the file says that
 * HOLDFAST_TEST_CLOCK names, and jumps when the file changes. The monotonic clock and timers stay
 * right, as when somebody sets a machine's date. The program itself knows nothing of it.
 */
import { readFileSync } from 'node:fs';

const LOOK_MS = 50;

const file = process.env['HOLDFAST_TEST_CLOCK'];
if (file !== undefined) skew(file);

function skew(path: string): void {
  const RealDate = Date;
  let offsetMs = read(path);
  setInterval(() => (offsetMs = read(path)), LOOK_MS).unref();
  const now = (): number => RealDate.now() + offsetMs;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
    apply: () => new RealDate(now()).toString(),
    get: (target, name, receiver) =>
      name === 'now' ? now : (Reflect.get(target, name, receiver) as unknown),
  });
}

function read(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8')) || 0;
  } catch {
    return 0;
  }
}
