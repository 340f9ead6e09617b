/** Aim: nothing that matters is missed, nothing piles up, watching ends. Method: examples. */
import { expect, it } from 'vitest';
import { ChangeFeed } from './change-feed.ts';

async function take<Value>(changes: AsyncIterator<Value>, count: number): Promise<Value[]> {
  const taken: Value[] = [];
  while (taken.length < count) taken.push((await changes.next()).value as Value);
  return taken;
}

it('begins with what is, goes on with what changes, and keeps the latest of each key', async () => {
  const feed = new ChangeFeed<string, string>();
  const stop = new AbortController();
  const watching = feed.watch([['a', 'a1']], stop)[Symbol.asyncIterator]();
  feed.publish('b', 'b1');
  feed.publish('a', 'a2');
  feed.publish('a', 'a3');
  expect(await take(watching, 2)).toEqual(['b1', 'a3']);
  const next = watching.next();
  feed.publish('c', 'c1');
  expect((await next).value).toBe('c1');
});

it('ends when it is told to, also while it waits, and when its consumer stops', async () => {
  const feed = new ChangeFeed<string, string>();
  const stop = new AbortController();
  const waiting = feed.watch([], stop)[Symbol.asyncIterator]().next();
  stop.abort();
  expect((await waiting).done).toBe(true);
  for await (const _ of feed.watch([['a', 'a1']], { signal: stop.signal })) expect.unreachable();
  for await (const change of feed.watch([['a', 'a1']], new AbortController())) {
    expect(change).toBe('a1');
    break;
  }
});
