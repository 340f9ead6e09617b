/**
 * Three nodes on this machine, as one cluster: `npm run dev` keeps them running until Ctrl-C,
 * `npm run demo` (demo.ts) shows what they do. Everything lies in one temporary folder, which goes
 * when they end. Each node has two stores, so one node of the three may be lost.
 */
import { fileURLToPath } from 'node:url';
import { Bed } from '../test/e2e/harness.ts';
import { LoopbackCluster } from '../test/e2e/loopback-cluster.ts';

export const DEV_NODES = ['anna', 'ben', 'cleo'] as const;

/** Lists what runs: name, address, data directory. */
export function describeNodes({ bed, running, addresses }: LoopbackCluster): string[] {
  return running.map((name) => `${name.padEnd(6)} ${addresses(name).join(' ')}  ${bed.path(name)}`);
}

/** The caller disposes the cluster, then the bed. */
export async function startDevCluster(bed: Bed): Promise<LoopbackCluster> {
  const plans = DEV_NODES.map((name) => ({ name, storeCount: 2 }));
  return await LoopbackCluster.start(bed, plans, { scheme: 'rs-4+2' });
}

/** Runs `work` in a bed that is taken down at its end, and when the user interrupts it. */
export async function withBed(work: (bed: Bed, interrupted: Promise<void>) => Promise<void>) {
  const interrupted = Promise.withResolvers<void>();
  await using bed = await Bed.open();
  // A second one ends the process at once.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      interrupted.resolve();
      process.once(signal, () => process.exit(1));
    });
  }
  await Promise.race([
    work(bed, interrupted.promise),
    interrupted.promise.then(() => void (process.exitCode = 130)),
  ]);
}

async function main(): Promise<void> {
  await withBed(async (bed, interrupted) => {
    console.log('Starting three nodes ...');
    await using cluster = await startDevCluster(bed);
    console.log(usage(cluster).join('\n'));
    await interrupted;
    console.log('Stopping them, and removing their folder.');
  });
  process.exitCode = 0;
}

function usage(cluster: LoopbackCluster): string[] {
  const { bed } = cluster;
  const [first, , third] = DEV_NODES;
  const at = (name: string): string => `--data ${bed.path(name)}`;
  return [
    '',
    ...describeNodes(cluster),
    '',
    'They are one cluster. Try, in another terminal:',
    '',
    `  bin/holdfast.js peers ${at(first)}`,
    `  bin/holdfast.js put README.md --name readme ${at(first)}`,
    `  bin/holdfast.js get readme -o - ${at(third)}`,
    `  bin/holdfast.js where readme ${at(first)}`,
    `  bin/holdfast.js health ${at(first)}`,
    '',
    'A fourth node:',
    '',
    `  bin/holdfast.js invite ${at(first)} > token`,
    `  bin/holdfast.js join token --name dora --listen tls://127.0.0.1:0 ${at('dora')}`,
    '',
    'Ctrl-C stops all of them; what they hold is gone then.',
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
