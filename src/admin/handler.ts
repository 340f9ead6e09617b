/** What a handler of a method of the control interface is given, and gives. */
import type { ControlAnswers, ControlMethod, ControlRequest, ProgressView } from '../api/index.ts';
import type { AdminParts } from './admin-parts.ts';

export interface CallContext {
  readonly parts: AdminParts;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: ProgressView) => void;
}

/** `item` sends one of many; await it before the next. */
export type SendItem<Method extends ControlMethod> = (
  item: ControlAnswers[Method] extends { item: infer Item } ? Item : never,
) => Promise<void>;

export type Handler<Method extends ControlMethod> = (
  request: ControlRequest<Method>,
  context: CallContext,
  item: SendItem<Method>,
) => Promise<ControlAnswers[Method]['result']>;

export async function sendAll<Item>(
  items: AsyncIterable<Item>,
  send: (item: Item) => Promise<void>,
): Promise<{ count: number }> {
  let count = 0;
  for await (const item of items) {
    await send(item);
    count += 1;
  }
  return { count };
}
