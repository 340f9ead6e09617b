/** Aim: `--data` means what the user means. Method: argument lists. */
import { expect, test } from 'vitest';
import { dataCountArguments } from './chunk-commands.ts';

test.each([
  ['chunk make f --data 4 --data /dir', 'chunk make f --data-count 4 --data /dir'],
  ['--data /dir chunk plan --data=4 f', '--data /dir chunk plan --data-count=4 f'],
  ['--data 4 chunk make f --data ./4', '--data 4 chunk make f --data ./4'],
  ['chunk get --data 4 -o f', 'chunk get --data 4 -o f'],
  ['put chunk --data 4', 'put chunk --data 4'],
  ['export $id --data 2 --data=/dir', 'export $id --data-count 2 --data=/dir'],
  ['--data export put --data 4', '--data export put --data 4'],
])('%s', (given, wanted) => {
  expect(dataCountArguments(given.split(' ')).join(' ')).toBe(wanted);
});
