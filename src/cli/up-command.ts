/**
 * `up`: a node in the foreground. It stops when it is asked to, by `down` or by a signal, and
 * finishes what is under way; a second signal ends the process at once.
 */
import fs from 'node:fs/promises';
import { HoldfastError } from '../base/index.ts';
import { parseAddress } from './address.ts';
import type { Io, Signal } from './io.ts';
import type { Session } from './session.ts';
import { parseCount } from './sizes.ts';
import { addVerb, type Verbs } from './verbs.ts';

/** Ctrl-C under npm arrives twice: from the terminal, and from npm. */
const SAME_SIGNAL_MS = 500;

interface UpOptions {
  readonly recover?: string;
  readonly store?: readonly string[];
  readonly stores?: boolean;
  readonly listen?: string;
  readonly acceptLoss?: boolean;
  readonly threads?: string;
}

export function addUpVerb(verbs: Verbs): void {
  addVerb(verbs, 'up', {
    summary: 'start a node in the foreground',
    details:
      'The first time it makes its data directory, six stores in it, a volume and the keys. ' +
      'Ctrl-C or down stops it; Ctrl-C once more ends it at once.',
    options: {
      '--recover <kit>': 'make a new data directory from this recovery kit and the stores',
      '--store <place...>':
        'folders, images and disks of the first run or the recovery, instead of the usual ones',
      '--no-stores': 'a first run without stores: dev add brings them',
      '--listen <ip:port>': 'also listen there, on a loopback address, for who has the token',
      '--accept-loss':
        'recover even if so many stores are gone that the newest files may be lost with them',
      '--threads <count>': 'threads that hash, seal and encode',
    },
    examples: [
      'holdfast up',
      'holdfast up --data /srv/holdfast --store /mnt/a /mnt/b /dev/sdc',
      'holdfast up --recover kit.txt --store /mnt/*/holdfast',
    ],
    action: startNode,
  });
}

async function startNode(session: Session, options: UpOptions): Promise<void> {
  const { recover, acceptLoss, threads, listen } = options;
  if (acceptLoss && recover === undefined) {
    throw new HoldfastError('HF_BAD_ARGUMENT', '--accept-loss goes with --recover');
  }
  const stop = Promise.withResolvers<void>();
  session.takeSignals(stopOnSignal(session.io, stop.resolve));
  const threadCount = threads === undefined ? undefined : parseCount(threads, { min: 1 });
  const recoverKitText = recover === undefined ? undefined : await readKit(session, recover);
  const nodeModule = await session.io.loadNode();
  await using node = await nodeModule.openNode({
    dataPath: session.dataPath,
    recoverKitText,
    storePaths: chosenStores(session, options),
    acceptsLoss: acceptLoss,
    listen: listen === undefined ? undefined : parseAddress(listen),
    threadCount,
  });
  session.print(...node.welcome, 'It runs until Ctrl-C, or: holdfast down');
  void stop.promise.then(() => node.stop());
  await node.stopped;
  session.note('holdfast: stopping');
}

/** @throws HF_BAD_ARGUMENT. */
function chosenStores(
  session: Session,
  { store, stores = true, recover }: UpOptions,
): string[] | undefined {
  if (stores) return store?.map((place) => session.resolve(place));
  if (store === undefined && recover === undefined) return [];
  throw new HoldfastError('HF_BAD_ARGUMENT', '--no-stores goes with neither --store nor --recover');
}

/** The first signal asks; an echo of it is ignored; a later one ends the process. */
function stopOnSignal(io: Io, stop: () => void): (signal: Signal) => void {
  let askedMs: number | undefined;
  return (signal) => {
    const nowMs = io.clock.monotonic();
    if (askedMs !== undefined && nowMs - askedMs >= SAME_SIGNAL_MS) io.die(signal);
    askedMs ??= nowMs;
    stop();
  };
}

async function readKit(session: Session, file: string): Promise<string> {
  if (file !== '-') return await fs.readFile(session.resolve(file), 'utf8');
  const pieces: Buffer[] = [];
  for await (const piece of session.io.stdin) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('utf8');
}
