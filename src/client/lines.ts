/** Lines of JSON out of pieces of bytes. */
import { StringDecoder } from 'node:string_decoder';
import { badAnswer } from './failures.ts';

/** Each line as the value it holds; an unfinished one at the end counts as a line. */
export async function* jsonLines(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const piece of bytes) {
    const lines = (rest + decoder.write(piece)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield parse(line);
  }
  rest += decoder.end();
  if (rest !== '') yield parse(rest);
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw badAnswer('is not JSON', error);
  }
}
