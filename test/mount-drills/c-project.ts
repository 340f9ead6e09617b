/**
 * Builds a C project in the mount with all cores: what make does next follows from times of change,
 * the result from the bytes of what compiler and linker wrote.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import { need, ok, timed } from './commands.ts';
import type { Drill } from './drill.ts';

const FILES = 200;
const HEADERS = 10;

export async function cProject({ mounts, size = FILES, say }: Drill): Promise<object> {
  need('gcc', 'make');
  const cwd = path.join(mounts.directory, 'project');
  const write = (name: string, text: string) => fs.writeFile(path.join(cwd, name), text);
  await fs.mkdir(cwd);
  for (let number = 0; number < HEADERS; number += 1) {
    await write(`h${number}.h`, `#define H${number} ${number + 1}\n`);
  }
  for (let number = 0; number < size; number += 1) await write(`f${number}.c`, source(number));
  await write('main.c', program(size));
  await write('Makefile', makefile(size));

  const make = async () => (await ok('make', ['-j8'], { cwd })).split('\n');
  const compiled = (lines: string[]) => lines.filter((line) => line.includes(' -c ')).length;
  const seconds = await timed(async () => assert.equal(compiled(await make()), size + 1));
  say(`built in ${seconds} s`);
  const sumOf = async () => Number(await ok('./sum', [], { cwd }));
  const sum = (h3: number) =>
    Array.from({ length: size }, (_, n) => n * (n % HEADERS === 3 ? h3 : (n % HEADERS) + 1)).reduce(
      (total, value) => total + value,
      0,
    );
  assert.equal(await sumOf(), sum(4));
  assert.match((await make()).join(), /up to date/);

  await write('h3.h', '#define H3 1000\n');
  const uses = Array.from({ length: size }, (_, n) => n).filter((n) => n % HEADERS === 3).length;
  assert.equal(compiled(await make()), uses, 'exactly what uses the header is compiled again');
  assert.equal(await sumOf(), sum(1000));
  await mounts.remount(mounts.points[0]!);
  assert.match((await make()).join(), /up to date/);
  assert.equal(await sumOf(), sum(1000));
  await ok('make', ['clean'], { cwd });
  const left = await fs.readdir(cwd);
  assert.equal(left.length, size + HEADERS + 2);
  await ok('rm', ['-rf', cwd]);
  return { files: size, seconds };
}

function source(number: number): string {
  const header = number % HEADERS;
  const body = `long f${number}(void) { return ${number}L * H${header}; }`;
  return `#include <stdio.h>\n#include "h${header}.h"\n${body}\n`;
}

function program(size: number): string {
  const numbers = Array.from({ length: size }, (_, number) => number);
  const declared = numbers.map((number) => `long f${number}(void);`).join('\n');
  const sum = numbers.map((number) => `f${number}()`).join(' + ');
  const main = `int main(void) { printf("%ld\\n", ${sum}); return 0; }`;
  return `#include <stdio.h>\n${declared}\n${main}\n`;
}

function makefile(size: number): string {
  const objects = Array.from({ length: size }, (_, number) => `f${number}.o`).join(' ');
  return [
    `OBJECTS = main.o ${objects}`,
    'sum: $(OBJECTS)\n\tgcc -o $@ $(OBJECTS)',
    '%.o: %.c\n\tgcc -O1 -MMD -c -o $@ $<',
    'clean:\n\trm -f sum *.o *.d',
    '-include $(OBJECTS:.o=.d)',
    '',
  ].join('\n\n');
}
