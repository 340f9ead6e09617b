/**
 * `up`: a node in the foreground. It stops when it is asked to, by `down` or by a signal, and
 * finishes what is under way; a second signal ends the process at once. `join` makes a data
 * directory that of a member first. With `--detach` either goes on in the background.
 */
import fs from 'node:fs/promises';
import { HoldfastError } from '../base/index.ts';
import { parseAddress } from './address.ts';
import { startInBackground } from './background-node.ts';
import { parseDuration } from './durations.ts';
import type { Io, NodeChanges, Signal } from './io.ts';
import type { Session } from './session.ts';
import { readToken } from './read-token.ts';
import { parseCount } from './sizes.ts';
import { addVerb, type Verbs } from './verbs.ts';

/** Ctrl-C under npm arrives twice: from the terminal, and from npm. */
const SAME_SIGNAL_MS = 500;

/** What a node is to others: kept, so it need be said once. */
interface PlaceOptions {
  readonly listen?: readonly string[];
  readonly advertise?: readonly string[];
  readonly name?: string;
  readonly datacenter?: string;
  readonly region?: string;
  readonly zone?: string;
  readonly rack?: string;
  readonly server?: string;
  readonly beacon?: boolean;
  readonly disks?: boolean;
  readonly metadata?: boolean;
  readonly awayGrace?: string;
}

interface StartOptions extends PlaceOptions {
  readonly store?: readonly string[];
  readonly stores?: boolean;
  readonly threads?: string;
  readonly detach?: boolean;
}

interface UpOptions extends StartOptions {
  readonly recover?: string;
  readonly acceptLoss?: boolean;
}

const PLACE_FLAGS = {
  '--advertise <address...>': 'where others reach this node (default: where it listens)',
  '--name <name>': 'what the node is called (default: the host name)',
  '--rack <name>': 'where it stands: what is in one rack is lost together',
  '--zone <name>': 'the same, one wider',
  '--region <name>': 'one wider',
  '--datacenter <name>': 'the widest',
  '--server <name>': 'the machine, where several nodes run on one (default: the node)',
  '--no-beacon': 'do not look for members on the local network',
  '--no-disks': 'do not tell the members which disks are on this machine',
  '--no-metadata': 'carry no part of what the cluster knows of names; said to join: nor its key',
  '--metadata': 'carry a part of it after all, where others want that (the default)',
  '--away-grace <time>': 'a node away for longer is given up: 10m, 1h (default: 10m)',
};

const START_FLAGS = {
  '--store <place...>': 'folders, images and disks of the first run, instead of the usual ones',
  '--no-stores': 'a first run without stores: dev add brings them',
  '--threads <count>': 'threads that hash, seal and encode',
  '-d, --detach': 'go on in the background, once the node answers',
};

export function addUpVerb(verbs: Verbs): void {
  addVerb(verbs, 'up', {
    summary: 'start a node in the foreground',
    details:
      'The first time it makes its data directory, six stores in it, a volume and the keys. ' +
      'Ctrl-C or down stops it; Ctrl-C once more ends it at once. What is said of addresses, ' +
      'names and places is kept.',
    options: {
      '--recover <kit>': 'make a new data directory from this recovery kit and the stores',
      '--accept-loss':
        'recover even if so many stores are gone that the newest files may be lost with them',
      ...START_FLAGS,
      '--listen <address...>':
        'for other nodes on tls://HOST:PORT or wss://HOST:PORT; on IP:PORT (loopback) for who ' +
        'has the token',
      ...PLACE_FLAGS,
    },
    examples: [
      'holdfast up',
      'holdfast up --data /srv/holdfast --store /mnt/a /mnt/b /dev/sdc',
      'holdfast up --listen tls://0.0.0.0:7450 --rack r1 --detach',
      'holdfast up --recover kit.txt --store /mnt/*/holdfast --detach',
    ],
    action: async (session: Session, options: UpOptions) => {
      const { recover, acceptLoss } = options;
      if (acceptLoss && recover === undefined) {
        throw new HoldfastError('HF_BAD_ARGUMENT', '--accept-loss goes with --recover');
      }
      if (recover === '-' && options.detach) {
        throw new HoldfastError('HF_BAD_ARGUMENT', 'with --detach the kit is to be in a file');
      }
      const recoverKitText = recover === undefined ? undefined : await readKit(session, recover);
      await runNode(session, options, { recoverKitText, acceptsLoss: acceptLoss });
    },
  });
}

export function addJoinVerb(verbs: Verbs): void {
  addVerb(verbs, 'join', {
    summary: 'make this machine a node of a cluster, and start it',
    details:
      'Reads the token that invite printed. Needs a data directory that is new; afterwards the ' +
      'node is started with up, as any other. Interrupted, it can be repeated with the token.',
    args: { '[file]': 'the file with the token; - is standard input (the default)' },
    options: {
      ...START_FLAGS,
      '--listen <address...>': 'for other nodes (default: tls://0.0.0.0:7450)',
      ...PLACE_FLAGS,
    },
    examples: [
      'holdfast join token --detach',
      'holdfast join token --rack r2 --store /mnt/a /mnt/b',
      'ssh first holdfast invite | holdfast join',
    ],
    action: async (session: Session, options: StartOptions, file: string | undefined) => {
      const token = await readToken(session, file);
      await runNode(session, options, { token });
    },
  });
}

/** What is done once, before the node runs. */
interface Beginning {
  readonly recoverKitText?: string | undefined;
  readonly acceptsLoss?: boolean | undefined;
  readonly token?: string | undefined;
}

async function runNode(
  session: Session,
  options: StartOptions,
  beginning: Beginning,
): Promise<void> {
  const { threads, detach = false } = options;
  const { control, config } = placeOf(options, beginning);
  const storePaths = chosenStores(session, options, beginning);
  const threadCount = threads === undefined ? undefined : parseCount(threads, { min: 1 });
  if (detach) {
    return await detachNode(session, options, beginning);
  }
  const stop = Promise.withResolvers<void>();
  session.takeSignals(stopOnSignal(session.io, stop.resolve));
  const nodeModule = await session.io.loadNode();
  const { dataPath } = session;
  const joined = { dataPath, config, token: beginning.token };
  if (joined.token !== undefined) await nodeModule.joinNode({ ...joined, token: joined.token });
  await using node = await nodeModule.openNode({
    dataPath,
    recoverKitText: beginning.recoverKitText,
    storePaths,
    acceptsLoss: beginning.acceptsLoss,
    listen: control,
    config,
    searchPath: session.io.variables['PATH'],
    threadCount,
  });
  session.print(...node.welcome, 'It runs until Ctrl-C, or: holdfast down');
  void stop.promise.then(() => node.stop());
  await node.stopped;
  session.note('holdfast: stopping');
}

/** Joins here, where what goes wrong is seen, and goes on in a process of its own. */
async function detachNode(
  session: Session,
  options: StartOptions,
  { token }: Beginning,
): Promise<void> {
  const { dataPath, io } = session;
  if (token !== undefined) {
    const { config } = placeOf(options, { token });
    await (await io.loadNode()).joinNode({ dataPath, config, token });
  }
  const started = await startInBackground(session, flagsOf(session, options));
  const status = await session.client.call('status', {}, session);
  session.show(started, () => [
    `node ${status.name} runs in the background, process ${started.processId}`,
    ...status.startNotes.map((line) => `note: ${line}`),
    ...status.warnings.map((line) => `warning: ${line}`),
  ]);
}

/** The same flags, for a process that stands in another folder. */
function flagsOf(session: Session, options: UpOptions): string[] {
  const { recover, acceptLoss, store, stores, threads, listen, advertise } = options;
  const { beacon, disks, metadata } = options;
  const single = ['name', 'rack', 'zone', 'region', 'datacenter', 'server', 'awayGrace'] as const;
  const places = store?.map((place) => session.resolve(place)) ?? [];
  const named = single.flatMap((name) => {
    const value = options[name];
    const flag = name === 'awayGrace' ? 'away-grace' : name;
    return value === undefined ? [] : [`--${flag}`, value];
  });
  return [
    ...(recover === undefined ? [] : ['--recover', session.resolve(recover)]),
    ...(acceptLoss ? ['--accept-loss'] : []),
    ...(places.length > 0 ? ['--store', ...places] : []),
    ...(stores === false ? ['--no-stores'] : []),
    ...(threads === undefined ? [] : ['--threads', threads]),
    ...(listen === undefined ? [] : ['--listen', ...listen]),
    ...(advertise === undefined ? [] : ['--advertise', ...advertise]),
    ...(beacon === false ? ['--no-beacon'] : []),
    ...(disks === false ? ['--no-disks'] : []),
    ...(metadata === undefined ? [] : [metadata ? '--metadata' : '--no-metadata']),
    ...named,
  ];
}

/** @throws HF_BAD_ARGUMENT. */
function placeOf(
  options: PlaceOptions,
  { token }: Beginning,
): { config: NodeChanges; control: ReturnType<typeof parseAddress> | undefined } {
  const { listen = [], advertise, name, beacon, disks, metadata, awayGrace } = options;
  const { datacenter, region, zone, rack, server } = options;
  const peers = listen.filter((text) => text.includes('://'));
  const [control, another] = listen.filter((text) => !text.includes('://'));
  if (another !== undefined) {
    const message = `give IP:PORT once; for other nodes write tls://${another}`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  if (control !== undefined && token !== undefined) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `write tls://${control}`);
  }
  const config = {
    listen: peers.length > 0 ? peers : undefined,
    advertise,
    name,
    labels: { datacenter, region, zone, rack, server },
    beacon: beacon === false ? false : undefined,
    disks: disks === false ? false : undefined,
    metadata,
    awayGraceMs: awayGrace === undefined ? undefined : parseDuration(awayGrace),
  };
  return { config, control: control === undefined ? undefined : parseAddress(control) };
}

/** @throws HF_BAD_ARGUMENT. */
function chosenStores(
  session: Session,
  { store, stores = true }: StartOptions,
  { recoverKitText }: Beginning,
): string[] | undefined {
  if (stores) return store?.map((place) => session.resolve(place));
  if (store === undefined && recoverKitText === undefined) return [];
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
