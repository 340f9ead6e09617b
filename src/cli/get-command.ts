/** `get`: an object becomes a file, or goes to standard output. */
import type { FileHandle } from 'node:fs/promises';
import type { ObjectView } from '../api/index.ts';
import type { HoldfastClient } from '../client/index.ts';
import { ProgressBar } from './progress.ts';
import { type Session, writeTo } from './session.ts';
import { parseCount } from './sizes.ts';
import { checkTarget, writeFile, writeStream } from './write-file.ts';
import { addVerb, atMostOneOf, oneOf, type Verbs } from './verbs.ts';

interface GetOptions {
  readonly volume: string;
  readonly output?: string;
  readonly file?: string;
  readonly id?: string;
  readonly force?: boolean;
  readonly offset?: string;
  readonly length?: string;
}

export function addGetVerb(verbs: Verbs): void {
  addVerb(verbs, 'get', {
    summary: 'bring an object back as a file',
    details:
      'Without -o it gets its recorded name, in the current directory; that name is printed. ' +
      'A file that exists is kept; one that cannot be had whole is not made.',
    args: { '[ref]': 'id, key or content address' },
    options: {
      '-i, --id <id>': 'its id, said as ddfs does',
      '-f, --file <out>': 'the file to make, said as ddfs does',
      '-o, --output <out>': 'the file to make; - is standard output',
      '--force': 'replace a file that exists',
      '--offset <bytes>': 'begin there',
      '--length <bytes>': 'at most so many',
    },
    hasVolume: true,
    hasServer: true,
    examples: [
      'holdfast get $id',
      'holdfast get logs/today -o - | grep error',
      'holdfast get $id -o part --offset 1000 --length 500',
    ],
    action: getObject,
  });
}

async function getObject(
  session: Session,
  options: GetOptions,
  named: string | undefined,
): Promise<void> {
  const { volume, force = false, offset, length } = options;
  const reference = oneOf({ 'an object': named, '-i': options.id });
  const output = atMostOneOf({ '-o': options.output, '-f': options.file });
  const { client, io, signal } = session;
  const range = {
    ...(offset === undefined ? {} : { offset: parseCount(offset) }),
    ...(length === undefined ? {} : { lengthBytes: parseCount(length) }),
  };
  if (output !== undefined && output !== '-') {
    await checkTarget(session.resolve(output), { isForced: force });
  }
  const wanted = { volume, reference, ...range, signal };
  if (output === '-') {
    const { object, bytes } = await client.get(wanted);
    for await (const piece of withProgress(session, object, bytes)) await writeTo(io.stdout, piece);
    return;
  }
  const object = await client.call('object.query', { volume, reference }, { signal });
  const target = session.resolve(output ?? restoredName(object));
  const write = (file: FileHandle) => fetchInto(session, file, { object, wanted });
  await writeFile(target, write, { isForced: force, uniqueName: io.uniqueName() });
  if (session.isJson) session.print(JSON.stringify({ object, path: target }));
  else if (output === undefined) session.print(session.relative(target));
}

/** Lets the node write the file itself; where it cannot, the content comes through the socket. */
async function fetchInto(
  session: Session,
  file: FileHandle,
  { object, wanted }: { object: ObjectView; wanted: Parameters<HoldfastClient['get']>[0] },
): Promise<void> {
  const { client } = session;
  // The very object that was asked about: its key may have a new one by now.
  const request = { ...wanted, reference: object.id };
  if (await getOpenFile(session, file, { object, request })) return;
  const { bytes } = await client.get(request);
  await writeStream(file, withProgress(session, object, bytes));
}

async function getOpenFile(
  session: Session,
  { fd }: FileHandle,
  { object, request }: { object: ObjectView; request: Parameters<HoldfastClient['get']>[0] },
): Promise<boolean> {
  const { sizeBytes: total } = object;
  using bar = new ProgressBar(session.io, 'get');
  const onProgress = ({ bytes }: { bytes: number }) => bar.ofFile({ done: bytes, total });
  return (await session.client.getFile(fd, { ...request, onProgress })) !== undefined;
}

/** A name for this directory: the recorded one, the key's last one, or the id; never a path. */
export function restoredName({ fileName, key, id }: ObjectView): string {
  const names = [fileName, key ?? ''].map((name) => name.split('/').at(-1) ?? '');
  return names.find((name) => !['', '.', '..'].includes(name) && !name.includes('\0')) ?? id;
}

async function* withProgress(
  session: Session,
  { sizeBytes: total }: ObjectView,
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  using bar = new ProgressBar(session.io, 'get');
  let done = 0;
  for await (const piece of content) {
    yield piece;
    done += piece.length;
    bar.ofFile({ done, total });
  }
}
