/** Aim: a program that hangs is not waited for. Method: programs that every system has. */
import { expect, it } from 'vitest';
import { outputOf } from './tools.ts';

it('a program says what it has to say', async () => {
  expect(await outputOf('echo', ['a', 'b'])).toBe('a b\n');
  await expect(outputOf('false', [])).rejects.toMatchObject({ code: 1 });
});

it('a program that hangs is given up, also when it would not end', async () => {
  const hanging = ['-c', 'trap "" TERM; sleep 60'];
  await expect(outputOf('sh', hanging, 50)).rejects.toMatchObject({ code: 'HF_IO' });
});
