/**
 * Aim: whatever happens to hosts and network, in any order, while clients work and the warden moves
 * cells about: what was acknowledged is there afterwards, once, and all comes to rest. Method: a
 * random row of kills, starts, partitions, lost log replies and hosts without a log, from a seed;
 * then peace, and a look at everything.
 */
import { afterEach, expect, it } from 'vitest';
import { HostingBed, nodeOf, VOLUME } from '../../../test/suites/hosting-bed.ts';
import { errorCode, type ObjectId, utf8 } from '../../base/index.ts';
import { openVolumes, ROOT_INODE } from '../index.ts';
import { Warden } from './warden.ts';

const HOSTS = [1, 2, 3, 4, 5];

let bed: HostingBed;
const stopping: AbortController[] = [];

afterEach(async () => {
  for (const each of stopping.splice(0)) each.abort();
  await bed[Symbol.asyncDispose]();
});

function objectId(number: number): ObjectId {
  const slot = ((number * 397) % 4096).toString(16).padStart(3, '0');
  return (slot + number.toString(16).padStart(29, '0')) as ObjectId;
}

/** Makes directories, objects and references by one host until it is told to stop. */
class Client {
  readonly objects: number[] = [];
  readonly directories: string[] = [];
  readonly stripes: number[] = [];
  readonly surprises: unknown[] = [];
  #isOver = false;
  readonly running: Promise<void>;

  constructor(number: number) {
    this.running = this.#run(number);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.running;
  }

  async #run(number: number): Promise<void> {
    for (let count = number * 1_000_000; !this.#isOver; count++) {
      const host = bed.hosts.find((each) => each.number === number);
      if (!host) {
        await bed.env.clock.sleep(500);
        continue;
      }
      const { namespace, hosting } = host;
      await this.#try(async () => {
        await namespace.makeDirectory({
          parent: ROOT_INODE,
          name: utf8(`d${count}/`),
          salt: new Uint8Array(16),
          attributes: new Uint8Array(),
          isImplicit: false,
        });
        this.directories.push(`d${count}/`);
      });
      await this.#try(async () => {
        await namespace.commitObject({
          inode: await namespace.allocateInodes(1, { objectId: objectId(count) }),
          createdAtMs: 1,
          objectId: objectId(count),
          sizeBytes: 0,
          schemeNumbers: [3],
          attributes: utf8('sealed'),
          addressKey: new Uint8Array(32).fill(count),
          extents: [],
          mayReplace: false,
        });
        this.objects.push(count);
      });
      await this.#try(async () => {
        await hosting.references.setWholeEpoch(count % 4096, 1 + (count % 1000));
        this.stripes.push(count);
      });
      await bed.env.clock.sleep(bed.env.random.below(1000));
    }
  }

  /** What cannot be known now is nobody's fault; all else is. */
  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const code = errorCode(error);
      const isExpected = ['HF_UNAVAILABLE', 'HF_UNKNOWN_OUTCOME', 'HF_CLOSED', 'HF_TIMEOUT'];
      if (code === undefined || !isExpected.includes(code)) this.surprises.push(error);
    }
  }
}

const wardens = new Map<number, AbortController>();
function startWarden(number: number): void {
  const each = new AbortController();
  stopping.push(each);
  wardens.set(number, each);
  const { hosting } = bed.host(number);
  void new Warden({ env: bed.env, registry: bed.registry, hosting }).run({
    signal: each.signal,
    graceMs: 15_000,
    metadataNodes: () =>
      HOSTS.map((host) => ({
        node: nodeOf(host),
        labels: { rack: `r${host}` },
        isAlive: bed.hosts.some((one) => one.number === host),
        weight: 1,
      })),
  });
}

/** One mishap; resolves when it is over. */
async function mishap(logFaults: { lostReplyPercent: number }): Promise<void> {
  const { random, clock } = bed.env;
  const victim = 1 + random.below(HOSTS.length); // the first has the warden
  const spanMs = 1000 + random.below(15_000);
  switch (random.below(5)) {
    case 0:
      wardens.get(victim)?.abort();
      await bed.kill(victim);
      await clock.sleep(spanMs);
      await bed.start(victim);
      if (victim <= 2) startWarden(victim);
      return;
    case 1:
      bed.part(victim);
      await clock.sleep(spanMs);
      bed.net.heal();
      return;
    case 2:
      bed.cutOff.add(victim);
      await clock.sleep(spanMs);
      bed.cutOff.delete(victim);
      return;
    case 3:
      logFaults.lostReplyPercent = 5;
      await clock.sleep(spanMs);
      logFaults.lostReplyPercent = 0;
      return;
    default:
      wardens.get(victim)?.abort();
      await bed.stop(victim);
      await clock.sleep(Math.round(spanMs / 10));
      await bed.start(victim);
      if (victim <= 2) startWarden(victim);
  }
}

async function lookAtEverything(clients: readonly Client[]): Promise<void> {
  const { namespace, hosting } = bed.host(2);
  const listed = new Set<string>();
  for (let after: ObjectId | undefined; ;) {
    const page = await namespace.listObjects({ after });
    for (const { objectId: id } of page) listed.add(id as string);
    if (page.length === 0) break;
    after = page.at(-1)?.objectId;
  }
  const names = new Set<string>();
  for (let after: Uint8Array | undefined; ;) {
    const page = await namespace.list({ directory: ROOT_INODE, after });
    for (const { name } of page) names.add(Buffer.from(name).toString());
    if (page.length === 0) break;
    after = page.at(-1)?.name;
  }
  for (const { objects, directories, stripes } of clients) {
    for (const number of objects) expect(listed).toContain(objectId(number));
    for (const name of directories) expect(names).toContain(name);
    for (const count of stripes) {
      const epoch = await hosting.references.wholeEpoch(count % 4096);
      expect(epoch).toBeGreaterThanOrEqual(1 + (count % 1000));
    }
  }
}

/** Some seventy more were run by hand. */
const SEEDS = Array.from({ length: 40 }, (_, i) => 300 + i);

it.each(SEEDS)(
  'nothing that was acknowledged is lost (seed %i)',
  { timeout: 60_000 },
  async (seed) => {
    const logFaults = { lostReplyPercent: 0 };
    bed = await HostingBed.open(HOSTS.length, { seed, logFaults });
    await openVolumes(bed.registry).create({
      id: VOLUME,
      name: 'v',
      policy: [{ kind: 'copy', n: 3, k: 1 }],
      isDeduplicating: false,
      retention: undefined,
      reencodedBy: undefined,
      createdAtMs: 0,
    });
    startWarden(1);
    startWarden(2);
    const clients = HOSTS.map((number) => new Client(number));
    for (let count = 0; count < 7; count++) {
      await mishap(logFaults);
      await bed.env.clock.sleep(bed.env.random.below(8000));
    }
    await bed.env.clock.sleep(10_000);
    for (const client of clients) await client.stop();
    expect(clients.flatMap(({ surprises }) => surprises)).toEqual([]);
    await bed.until(async () => {
      const cells = await bed.host(1).hosting.cells();
      return cells.length === 8 && cells.every(({ standing, outgoing }) => standing && !outgoing);
    }, 120_000);
    await lookAtEverything(clients);
    for (const { cells } of bed.host(1).hosting.maps.all()) {
      for (const { cell } of cells) {
        await bed.until(() => bed.stewards(cell).length === 1);
        const { hosting } = bed.host(bed.stewards(cell)[0] as number);
        await hosting.carrier?.get(cell)?.steward?.cell.verify();
      }
    }
  },
);
