/** Aim: a name is one line, whatever is in it. Method: the lines of made-up outcomes. */
import { expect, it } from 'vitest';
import type { ScanRow } from '../archive/index.ts';
import { faultLines, outcomeLine, scanLines } from './archive-views.ts';

const PATH = 'a\nremoved    photos:b \u001b[2J';

it('no name makes a line of its own, or tells the terminal anything', () => {
  const said = { scheme: 'photos', path: PATH, result: 'split', detail: PATH, isFault: false };
  const bad = [{ store: 'share-0', reason: PATH }];
  const shares = { mark: 'X', good: 3, total: 4, quorum: 3, missing: [], offline: [] };
  const row: ScanRow = {
    scheme: 'photos',
    path: PATH,
    kind: 'file',
    shares: { ...shares, bad, isSealed: true },
    replicas: { main: '1' },
    redundancyPercent: 200,
    isDegraded: true,
  };
  const lines = [outcomeLine(said), ...scanLines([row]).slice(1), ...faultLines([row])];
  expect(lines.length).toBe(3);
  for (const line of lines) {
    expect(line).not.toMatch(/\p{Cc}/u);
    expect(line).toContain('a\\x0aremoved    photos:b \\x1b[2J');
  }
});

it('a dry run says what would be, and not that it was', () => {
  const line = (result: string, isDryRun: boolean) =>
    outcomeLine({ scheme: 'photos', path: 'a', result, isFault: false }, { isDryRun });
  expect(line('removed', true)).toBe('would be removed  photos:a');
  expect(line('removed', false)).toBe('removed    photos:a');
  expect(line('perfect', true)).toBe('perfect    photos:a');
});
