/** `get`: an object becomes a file, or goes to standard output. */
import path from 'node:path';
import type { ObjectView } from '../api/index.ts';
import { MiB } from '../base/index.ts';
import { ProgressBar } from './progress.ts';
import { type Session, writeTo } from './session.ts';
import { parseCount } from './sizes.ts';
import { checkTarget, writeFile } from './write-file.ts';
import { addVerb, type Verbs } from './verbs.ts';

const PROGRESS_BYTES_MIN = 16 * MiB;

interface GetOptions {
  readonly volume: string;
  readonly output?: string;
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
    args: { '<ref>': 'id, key or content address' },
    options: {
      '-o, --output <out>': 'the file to make; - is standard output',
      '--force': 'replace a file that exists',
      '--offset <bytes>': 'begin there',
      '--length <bytes>': 'at most so many',
    },
    hasVolume: true,
    examples: [
      'holdfast get $id',
      'holdfast get logs/today -o - | grep error',
      'holdfast get $id -o part --offset 1000 --length 500',
    ],
    action: getObject,
  });
}

async function getObject(session: Session, options: GetOptions, reference: string): Promise<void> {
  const { volume, output, force = false, offset, length } = options;
  const { client, io, signal } = session;
  const range = {
    ...(offset === undefined ? {} : { offset: parseCount(offset) }),
    ...(length === undefined ? {} : { lengthBytes: parseCount(length) }),
  };
  if (output !== undefined && output !== '-') {
    await checkTarget(session.resolve(output), { isForced: force });
  }
  const { object, bytes } = await client.get({ volume, reference, ...range, signal });
  const content = withProgress(session, object, bytes);
  if (output === '-') {
    for await (const piece of content) await writeTo(io.stdout, piece);
    return;
  }
  const target = session.resolve(output ?? restoredName(object));
  await writeFile(target, content, { isForced: force, uniqueName: io.uniqueName() });
  if (session.isJson) session.print(JSON.stringify({ object, path: target }));
  else if (output === undefined) session.print(path.relative(io.workPath, target));
}

/** A name for this directory: the recorded one, the key's last one, or the id; never a path. */
export function restoredName({ fileName, key, id }: ObjectView): string {
  const names = [fileName, key ?? ''].map((name) => name.split('/').at(-1) ?? '');
  return names.find((name) => !['', '.', '..'].includes(name) && !name.includes('\0')) ?? id;
}

async function* withProgress(
  session: Session,
  { sizeBytes }: ObjectView,
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  using bar = sizeBytes >= PROGRESS_BYTES_MIN ? new ProgressBar(session.io, 'get') : undefined;
  let bytes = 0;
  for await (const piece of content) {
    yield piece;
    bytes += piece.length;
    bar?.update({ done: bytes, total: sizeBytes, bytes });
  }
}
