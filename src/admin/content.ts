/**
 * Content through the control interface. `PUT` hands the body down as it arrives; `GET` gives each
 * piece to the socket and asks for the next when the socket has taken it. Nothing is copied here.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as v from 'valibot';
import {
  ContentGet,
  ContentPut,
  ERROR_TRAILER,
  OBJECT_HEADER,
  type PutAnswer,
} from '../api/index.ts';
import { HoldfastError, isHexId, type ObjectId, parsePolicy, type Policy } from '../base/index.ts';
import type { Content, ObjectContent, ObjectStore } from '../volume/index.ts';
import type { AdminParts } from './admin-parts.ts';
import { errorView, sendJson, write } from './answer.ts';
import { checked } from './checked.ts';
import { Strictness } from './strictness.ts';
import { objectView, putAnswer } from './views.ts';

export interface ContentExchange {
  readonly parts: AdminParts;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

export async function putContent(exchange: ContentExchange): Promise<void> {
  const { parts, request, response, query, signal } = exchange;
  const wanted = checked(ContentPut, Object.fromEntries(query));
  sendJson(response, 200, await storeContent({ parts, signal }, wanted, contentOf(request)));
}

/** One put, wherever its content comes from. */
export async function storeContent(
  { parts, signal }: Pick<ContentExchange, 'parts' | 'signal'>,
  { volume, scheme, id, replace, ...names }: v.InferOutput<typeof ContentPut>,
  content: Content,
): Promise<PutAnswer> {
  using _work = parts.beginContent();
  const report = await parts.volumes.objects(volume).put(content, {
    ...names,
    mayReplace: replace === 'yes',
    id: optionalObjectId(id),
    policy: optionalPolicy(scheme),
    signal,
  });
  return putAnswer(report);
}

export function optionalPolicy(text: string | undefined): Policy | undefined {
  return text === undefined ? undefined : parsePolicy(text);
}

/** The body. @throws HF_INTERRUPTED when the client goes before its end. */
async function* contentOf(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    // The connection stays when the store refuses: the client is to read why.
    for await (const piece of request.iterator({ destroyOnReturn: false })) yield piece;
  } catch (error) {
    const message = 'the client went away before the end of the content';
    throw new HoldfastError('HF_INTERRUPTED', message, { cause: error });
  }
}

function optionalObjectId(id: string | undefined): ObjectId | undefined {
  if (id === undefined) return undefined;
  if (isHexId(id)) return id as ObjectId;
  throw new HoldfastError('HF_BAD_ARGUMENT', `"${id}" is no object id: 32 hexadecimal digits`);
}

export async function getContent(exchange: ContentExchange): Promise<void> {
  const { parts, request, response, query, signal } = exchange;
  const strictness = new Strictness(request, parts);
  const wanted = checked(ContentGet, Object.fromEntries(query));
  using _work = parts.beginContent();
  const { info, bytes } = await strictness.keep(() =>
    openContent(parts.volumes.objects(wanted.volume), wanted, signal),
  );
  const header = encodeURIComponent(JSON.stringify(objectView(info)));
  // The head waits for the first piece: until then a failure still has a status of its own.
  const begin = () => {
    if (response.headersSent) return;
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      trailer: ERROR_TRAILER,
      [OBJECT_HEADER]: header,
    });
  };
  try {
    for await (const piece of bytes) {
      strictness.check();
      begin();
      await write(response, piece);
    }
  } catch (error) {
    if (response.headersSent && !response.destroyed) {
      const reason = encodeURIComponent(JSON.stringify(errorView(error)));
      response.addTrailers({ [ERROR_TRAILER]: reason });
      response.end();
    }
    throw error;
  }
  if (!response.headersSent) strictness.check();
  begin();
  response.end();
}

/** The object and the bytes wanted of it; a range may end beyond the object. */
export async function openContent(
  objects: ObjectStore,
  { reference, offset, lengthBytes }: Omit<v.InferOutput<typeof ContentGet>, 'volume'>,
  signal: AbortSignal,
): Promise<ObjectContent> {
  if (offset === undefined && lengthBytes === undefined) {
    return await objects.get(reference, { signal });
  }
  const from = offset ?? 0;
  const { sizeBytes } = await objects.query(reference);
  if (!Number.isSafeInteger(from) || from > sizeBytes) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `the object ends at ${sizeBytes} bytes`);
  }
  const range = { offset: from, lengthBytes: Math.min(lengthBytes ?? Infinity, sizeBytes - from) };
  return await objects.get(reference, { range, signal });
}
