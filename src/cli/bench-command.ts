/**
 * `bench`: what the running node does on its stores, with random content that is removed again. For
 * figures beside other programs there is `npm run bench`.
 */
import { KiB, mapBounded, MiB } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { fields } from './output.ts';
import type { Session } from './session.ts';
import { parseSize } from './sizes.ts';
import { addVerb, type Verbs } from './verbs.ts';

const SMALL_BYTES = 4 * KiB;
const SMALL_COUNT = 500;
const IN_FLIGHT = 64;
const DEFAULT_SIZE = '256M';

interface BenchOptions {
  readonly volume: string;
  readonly size?: string;
}

interface Figures {
  readonly putBytesPerSecond: number;
  readonly getBytesPerSecond: number;
  readonly smallPutsPerSecond: number;
  readonly smallGetsPerSecond: number;
}

export function addBenchVerb(verbs: Verbs): void {
  addVerb(verbs, 'bench', {
    summary: 'measure puts and gets on this node',
    details:
      'Random content is stored, read back and removed; the node serves others meanwhile. It ' +
      'passes the control socket here, so put and get of files are somewhat faster.',
    options: { '--size <size>': `bytes of the large object (default: ${DEFAULT_SIZE})` },
    hasVolume: true,
    examples: ['holdfast bench', 'holdfast bench --size 1G --json'],
    action: async (session: Session, options: BenchOptions) => {
      const figures = await measure(session, options);
      session.show(figures, () =>
        fields({
          'put, one stream': `${(figures.putBytesPerSecond / 1e6).toFixed(0)} MB/s`,
          'get, one stream': `${(figures.getBytesPerSecond / 1e6).toFixed(0)} MB/s`,
          [`put 4 KiB, ${IN_FLIGHT} at once`]: `${figures.smallPutsPerSecond.toFixed(0)} /s`,
          [`get 4 KiB, ${IN_FLIGHT} at once`]: `${figures.smallGetsPerSecond.toFixed(0)} /s`,
        }),
      );
    },
  });
}

async function measure(session: Session, options: BenchOptions): Promise<Figures> {
  const { volume } = options;
  const sizeBytes = parseSize(options.size ?? DEFAULT_SIZE);
  const stored: string[] = [];
  try {
    const put = await timed(session, () => putRandom(session, { volume, sizeBytes, stored }));
    const get = await timed(session, () => read(session, volume, stored[0]!));
    const numbers = Array.from({ length: SMALL_COUNT }, (_, number) => number);
    const smallPut = await timed(session, () =>
      mapBounded(numbers, IN_FLIGHT, () =>
        putRandom(session, { volume, sizeBytes: SMALL_BYTES, stored }),
      ),
    );
    const smallGet = await timed(session, () =>
      mapBounded(stored.slice(1), IN_FLIGHT, (id) => read(session, volume, id)),
    );
    return {
      putBytesPerSecond: sizeBytes / put,
      getBytesPerSecond: sizeBytes / get,
      smallPutsPerSecond: SMALL_COUNT / smallPut,
      smallGetsPerSecond: SMALL_COUNT / smallGet,
    };
  } finally {
    await mapBounded(stored, IN_FLIGHT, (reference) =>
      session.client.call('object.remove', { volume, reference }),
    );
  }
}

/** Seconds that the work takes. */
async function timed({ io }: Session, work: () => Promise<unknown>): Promise<number> {
  const start = io.clock.monotonic();
  await work();
  return (io.clock.monotonic() - start) / 1000;
}

async function putRandom(
  { client, signal }: Session,
  { volume, sizeBytes, stored }: { volume: string; sizeBytes: number; stored: string[] },
): Promise<void> {
  const { object } = await client.put(randomContent(sizeBytes), { volume, signal });
  stored.push(object.id);
}

/** One random piece again and again, with a number in it: no two stripes are the same. */
async function* randomContent(sizeBytes: number): AsyncGenerator<Uint8Array> {
  const piece = Buffer.from(realEnv().random.bytes(Math.min(sizeBytes, MiB)));
  for (let sent = 0; sent < sizeBytes; sent += piece.length) {
    const part = piece.subarray(0, sizeBytes - sent);
    if (part.length >= 8) part.writeBigUInt64LE(BigInt(sent));
    yield part;
  }
}

async function read({ client, signal }: Session, volume: string, id: string): Promise<void> {
  const { bytes } = await client.get({ volume, reference: id, signal });
  for await (const _ of bytes);
}
