/** `put`: a file, or what comes on standard input, becomes an object. */
import type { Stats } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { PutAnswer } from '../api/index.ts';
import { HoldfastError, MiB } from '../base/index.ts';
import type { HoldfastClient } from '../client/index.ts';
import { mediaTypeOf } from './media-types.ts';
import { plural } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import { addVerb, oneOf, type Verbs } from './verbs.ts';

const READ_BYTES = MiB;

interface PutOptions {
  readonly volume: string;
  readonly name?: string;
  readonly scheme?: string;
  readonly id?: string;
  readonly force?: boolean;
  readonly file?: string;
}

export function addPutVerb(verbs: Verbs): void {
  addVerb(verbs, 'put', {
    summary: 'store a file and print its id',
    details: 'It is stored when the id is printed; a put that fails leaves nothing.',
    args: { '[file]': 'the file; - is standard input' },
    options: {
      '-f, --file <file>': 'the file, said as ddfs does',
      '--name <key>': 'key under which it can be found',
      '--scheme <scheme>': "such as rs-4+2, near-4, or rs-4+2,copy-1 (default: the volume's)",
      '--id <id>': 'fill this object, made by create',
      '--force': 'replace other content under the same key',
    },
    hasVolume: true,
    hasServer: true,
    examples: ['id=$(holdfast put report.pdf)', 'holdfast put - --name logs/today < today.log'],
    action: putFile,
  });
}

async function putFile(
  session: Session,
  options: PutOptions,
  named: string | undefined,
): Promise<void> {
  const file = oneOf({ 'a file': named, '-f': options.file });
  await using source = file === '-' ? standardInput(session) : await openFile(session, file);
  const { name: key, scheme, id, volume, force = false } = options;
  const { client, io, signal } = session;
  const fileName = source.fileName ?? key?.split('/').at(-1);
  const mediaType = mediaTypeOf(fileName ?? '');
  const wanted = {
    volume,
    replace: force ? ('yes' as const) : ('no' as const),
    ...(key === undefined ? {} : { key }),
    ...(id === undefined ? {} : { id }),
    ...(scheme === undefined ? {} : { scheme }),
    ...(fileName === undefined ? {} : { fileName }),
    ...(mediaType === undefined ? {} : { mediaType }),
    signal,
  };
  const { object, ...answer } =
    (await putOpenFile(session, source, wanted)) ??
    (await client.put(withProgress(session, source), wanted));
  session.show({ object, ...answer }, () => [object.id]);
  if (answer.degradedTo === null) return;
  io.stderr.write(
    `holdfast: warning: stored with too few stores: only ${plural('store', answer.degradedTo)} ` +
      'may be lost; add stores, then run: holdfast repair\n',
  );
}

/** Lets the node read the file itself; `undefined` when it cannot. */
async function putOpenFile(
  { client, io }: Session,
  { descriptor, sizeBytes }: Source,
  wanted: Parameters<HoldfastClient['put']>[1],
): Promise<PutAnswer | undefined> {
  if (descriptor === undefined) return undefined;
  using bar = new ProgressBar(io, 'put');
  return await client.putFile(descriptor, {
    ...wanted,
    onProgress: ({ bytes }) => bar.ofFile({ done: bytes, total: sizeBytes }),
  });
}

interface Source extends AsyncDisposable {
  /** What is recorded as the name of the file. */
  readonly fileName: string | undefined;
  /** 0 when it is not known. */
  readonly sizeBytes: number;
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Of a regular file, which the node may read itself. */
  readonly descriptor: number | undefined;
}

function standardInput({ io }: Session): Source {
  const { stdin } = io;
  return {
    fileName: undefined,
    sizeBytes: 0,
    bytes: stdin,
    descriptor: undefined,
    // One that is left in the middle would keep the process waiting for its end.
    [Symbol.asyncDispose]: async () => void stdin.destroy(),
  };
}

/** @throws HF_NOT_FOUND, HF_IS_DIRECTORY, HF_DENIED, before anything is sent. */
async function openFile(session: Session, file: string): Promise<Source> {
  const full = session.resolve(file);
  const stats = await fs.stat(full).catch((error: NodeJS.ErrnoException): Stats | undefined => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!stats) throw new HoldfastError('HF_NOT_FOUND', `there is no file ${file}`);
  if (stats.isDirectory()) {
    throw new HoldfastError('HF_IS_DIRECTORY', `${file} is a directory; put takes files`);
  }
  const handle = await fs.open(full, 'r');
  return {
    fileName: path.basename(full),
    sizeBytes: stats.size,
    get bytes() {
      return handle.createReadStream({ highWaterMark: READ_BYTES, autoClose: false });
    },
    descriptor: stats.isFile() ? handle.fd : undefined,
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

async function* withProgress(session: Session, source: Source): AsyncGenerator<Uint8Array> {
  using bar = new ProgressBar(session.io, 'put');
  let done = 0;
  for await (const piece of source.bytes) {
    yield piece;
    done += piece.length;
    bar.ofFile({ done, total: source.sizeBytes });
  }
}
