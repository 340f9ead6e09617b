/** Aim: results never stand behind a bar. Method: a bar on a terminal of our own. */
import { expect, it } from 'vitest';
import { type Io, processIo } from './io.ts';
import { ProgressBar } from './progress.ts';

it('is taken away before something else is printed, and comes back', () => {
  let text = '';
  const stderr = { isTTY: true, write: (part: string) => (text += part) };
  const io = { ...processIo(), stderr } as unknown as Io;
  using bar = new ProgressBar(io, 'split');
  bar.clear();
  expect(text).toBe('');
  bar.update({ done: 1, total: 2, bytes: 1 });
  expect(text).toContain('50 %');
  bar.clear();
  expect(text.endsWith('\r\x1b[K')).toBe(true);
  text = '';
  bar.update({ done: 2, total: 2, bytes: 2 });
  expect(text).toContain('100 %');
});
