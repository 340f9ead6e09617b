/**
 * The drills of test/e2e at full size: a gibibyte and a thousand files, a thousand flipped bytes,
 * fifty kills of a node and of a writer to a loop device, five gigabytes through 512 MiB, twelve
 * nodes of which two are killed again and again, their metadata and its ring lost, a network under
 * attack. Takes an hour and 20 GB of disk.
 *
 *     npm run test:large                 all of them
 *     npm run test:large -- damage kill  these
 *     npm run test:large -- --seed 7     with other contents and places
 *     npm run test:large -- wire-stream --wire-bytes 1e9   a shorter stream between two nodes
 */
import { parseArgs } from 'node:util';
import { Bed } from '../e2e/harness.ts';
import { loopObstacle } from '../suites/loop-device.ts';
import { streamToSlowReader } from '../suites/wire-stream.ts';
import { cutAndRestore } from '../e2e/drill-chunk-files.ts';
import { flipBytes } from '../e2e/drill-damage.ts';
import { killDeviceWriter } from '../e2e/drill-device.ts';
import { attackInRounds } from '../e2e/drill-hostile.ts';
import { killDuringPuts } from '../e2e/drill-kill.ts';
import { Ground, ringObstacle } from '../consistency/cluster.ts';
import { assertShort, measureStalls } from '../consistency/stalls.ts';
import { loseRing, spreadMetadata } from '../e2e/drill-metadata.ts';
import { loseEveryStoreInPairs, recoverFromStores } from '../e2e/drill-losses.ts';
import { changeNodes, killNodesDuringUse, loseRacks } from '../e2e/drill-nodes.ts';
import { putGetDeleteInParallel } from '../e2e/drill-parallel.ts';
import { streamThrough } from '../e2e/drill-stream.ts';

const GiB = 2 ** 30;
const MiB = 2 ** 20;

/** @returns what is worth printing, if anything. */
type Drill = (bed: Bed, seed: number, wireBytes: number) => Promise<object | void>;

const DRILLS: Readonly<Record<string, Drill>> = {
  losses: (bed, seed) =>
    loseEveryStoreInPairs(bed, { seed, largeBytes: GiB, smallCount: 1000, byCommand: 100 }),
  recovery: (bed, seed) =>
    recoverFromStores(bed, { seed, largeBytes: GiB, smallCount: 1000, byCommand: 20 }),
  damage: (bed, seed) =>
    flipBytes(bed, {
      seed,
      largeBytes: 200 * MiB,
      smallCount: 200,
      byCommand: 1,
      flipCount: 1000,
      flipsPerStore: 10,
    }),
  kill: (bed, seed) => killDuringPuts(bed, { seed, rounds: 50, writerCount: 4, lifeMsMax: 1500 }),
  device: async (bed, seed) => {
    const obstacle = loopObstacle();
    if (obstacle !== undefined) return { SKIPPED: obstacle };
    const plan = { seed, rounds: 50, sizeBytes: 128 * MiB, lifeMsMax: 1500 };
    return await killDeviceWriter(bed, plan);
  },
  stream: (bed, seed) => streamThrough(bed, { seed, sizeBytes: 5e9, residentBytesMax: 512 * MiB }),
  chunks: (bed, seed) => cutAndRestore(bed, { seed, sizeBytes: 5e9, residentBytesMax: 640 * MiB }),
  hostile: () => attackInRounds({ rounds: 6, count: 300, slowReaderCount: 10, isPatient: true }),
  'wire-stream': (_bed, _seed, sizeBytes) =>
    streamToSlowReader({ sizeBytes, pauseMsPerMb: 1, residentBytesMax: 200 * MiB }),
  nodes: async (bed, seed) => {
    const killed = await killNodesDuringUse(bed, {
      seed,
      nodeCount: 12,
      rounds: 6,
      lifeMsMax: 2000,
    });
    await using racks = await Bed.open();
    await loseRacks(racks, { bookCount: 60 });
    await using changes = await Bed.open();
    return { killed, changed: await changeNodes(changes, { bookCount: 1500, spreadMax: 0.1 }) };
  },
  metadata: (bed) =>
    withRing(() => spreadMetadata(bed, { nodeCount: 12, directories: 50, objects: 1000 })),
  ring: (bed) => withRing(() => loseRing(bed, { nodeCount: 4 })),
  stalls: (bed) =>
    withRing(async () => {
      await using ground = await Ground.open(bed, { nodeCount: 5 });
      const stalls = await measureStalls(ground, { say: console.log });
      assertShort(stalls);
      return stalls;
    }),
  parallel: (bed, seed) => putGetDeleteInParallel(bed, { seed, fileCount: 10 }),
};

async function withRing(drill: () => Promise<object>): Promise<object> {
  const obstacle = ringObstacle();
  return obstacle === undefined ? await drill() : { SKIPPED: obstacle };
}

async function main(): Promise<void> {
  // Not the signal's own end: that would leave nodes and their etcds behind.
  for (const end of ['SIGINT', 'SIGTERM'] as const) {
    process.on(end, () => {
      throw new Error(`ended by ${end}`);
    });
  }
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string', default: '1' },
      'wire-bytes': { type: 'string', default: '5e9' },
    },
  });
  const seed = Number(values.seed);
  const wireBytes = Number(values['wire-bytes']);
  const names = positionals.length > 0 ? positionals : Object.keys(DRILLS);
  const unknown = names.find((name) => !Object.hasOwn(DRILLS, name));
  const isSound = Number.isSafeInteger(seed) && Number.isSafeInteger(wireBytes) && wireBytes > 0;
  if (unknown !== undefined || !isSound) {
    console.error(`test:large: takes --seed NUMBER and any of: ${Object.keys(DRILLS).join(', ')}`);
    process.exitCode = 2;
    return;
  }
  for (const name of names) await runDrill(name, seed, wireBytes);
}

async function runDrill(name: string, seed: number, wireBytes: number): Promise<void> {
  const startedMs = performance.now();
  try {
    await using bed = await Bed.open();
    const result = await DRILLS[name]!(bed, seed, wireBytes);
    console.log(`ok    ${name}  ${secondsSince(startedMs)}  ${describe(result)}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAIL  ${name}  ${secondsSince(startedMs)}`);
    console.log(`      repeat: npm run test:large -- ${name} --seed ${seed}`);
    console.error(error);
  }
}

function secondsSince(startedMs: number): string {
  return `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
}

function describe(result: object | void): string {
  return result ? JSON.stringify(result) : '';
}

await main();
