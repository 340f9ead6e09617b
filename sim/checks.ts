/**
 * What must hold once everything is calm again: all that was acknowledged is there and whole,
 * nothing else is, and what is removed leaves nothing behind.
 */
import {
  chunkIdParts,
  GROUP_COUNT,
  LIMITS,
  METADATA_SCHEME_NUMBER,
  schemeOfNumber,
  type StripeId,
  toHex,
} from '../src/base/index.ts';
import type { Namespace, StripeRecord } from '../src/meta/index.ts';
import type { Core } from '../src/node/index.ts';
import type { ExtentStore } from '../src/store/index.ts';
import { textOf } from './sim-env.ts';
import { ABSENT, type Register } from './model.ts';
import type { Workload } from './workload.ts';
import { addDisk, bringDisk, collect, heal } from './upkeep.ts';
import { TOLERANCE, Violation } from './violation.ts';
import type { World } from './world.ts';

/** Enough for shards of every scheme in use, and one to spare. */
const ALIVE_AT_END = 7;
const HEALS_MAX = 3;
/** Past the grace time of what nothing names. */
const LONG_MS = 48 * 3_600_000;
/** After trouble between machines; see world.ts. */
const SETTLE_MS = 100_000;

/** Ends all faults, mends what is broken, and checks everything. */
export async function checkAtEnd(world: World, workload: Workload): Promise<void> {
  await calmDown(world, workload);
  await mustWork(world, checkStructure);
  for (const register of workload.registers()) {
    for (const _ of world.standing) await workload.get(register);
  }
  await workload.list('');
  await world.sleep(1);
  for (const register of workload.registers()) checkSettled(register, world.nowMs);
  await mustWork(world, checkHealth);
  await mustWork(world, (core) => checkSpread(core, world));

  for (const register of workload.registers()) {
    if (!register.possible(world.nowMs, world.nowMs).has(ABSENT)) await workload.remove(register);
  }
  await removeRest(world);
  await collect(world, 0);
  await mustWork(world, checkEmpty);
  await checkSpace(world);
}

async function calmDown(world: World, workload: Workload): Promise<void> {
  await world.bringUp();
  for (const disk of world.disks) {
    disk.readErrorRate = 0;
    disk.isFull = false; // its store learns of it at the restart below
    disk.hungUntilMs = 0;
    await bringDisk(world, disk);
  }
  if (world.net) {
    await world.together();
    await world.sleep(SETTLE_MS);
    await workload.checkPromises();
  }
  while (world.aliveCount < ALIVE_AT_END) await addDisk(world, world.standing.at(-1)!);
  // A clean restart ends the sessions: from here on all that is pending was left behind.
  await world.restart(LONG_MS);
  workload.settle();
  if (world.net) await world.sleep(SETTLE_MS);
  for (let heals = 0; !(await heal(world)); heals++) {
    if (heals === HEALS_MAX) throw new Violation('what can be healed is not healed');
  }
}

/** Asks for what cannot fail any more. */
async function mustWork(
  world: World,
  work: (core: Core, stores: readonly ExtentStore[]) => Promise<void>,
): Promise<void> {
  // All volumes are open there, and what it is asked for is much.
  const outcome = await world.call((core) => work(core, world.stores()), [world.home]);
  if (outcome.kind === 'done') return;
  if (outcome.kind === 'crashed') throw new Violation('a crash that nobody caused');
  throw new Violation(`a check fails: ${textOf(outcome.error)}`);
}

function checkSettled(register: Register, nowMs: number): void {
  const possible = register.possible(nowMs, nowMs);
  if (possible.size !== 1) throw new Violation(`${register.name} is still undecided`);
}

async function stripeRecords(core: Pick<Core, 'references'>): Promise<Map<string, StripeRecord>> {
  const records = new Map<string, StripeRecord>();
  for (let group = 0; group < GROUP_COUNT; group++) {
    let after: StripeId | undefined;
    do {
      const page = await core.references.stripesOfGroup(group, after);
      for (const record of page) records.set(toHex(record.stripe), record);
      after = page.at(-1)?.stripe;
    } while (after);
  }
  return records;
}

/** The stripes of every object, by holder: what manifests name. */
async function namedByManifests(core: Core): Promise<Set<string>> {
  const named = new Set<string>();
  for (const volume of core.volumes.ids()) {
    const namespace = core.volumes.namespaceOf(volume)!;
    for (const record of await allObjects(namespace)) {
      for (const { stripe } of await namespace.extents(record.inode)) {
        named.add(`${toHex(stripe)} ${volume}/${record.inode}`);
      }
    }
  }
  return named;
}

async function allObjects(namespace: Namespace) {
  const found = [];
  for (;;) {
    const page = await namespace.listObjects({ after: found.at(-1)?.objectId });
    found.push(...page);
    if (page.length === 0) return found;
  }
}

/** Chunk ↔ record ↔ reference ↔ manifest: none without the others, each chunk once. */
async function checkStructure(core: Core, stores: readonly ExtentStore[]): Promise<void> {
  const records = await stripeRecords(core);
  const chunks = new Map<string, number>();
  for (const store of stores) {
    for await (const { id, isGood } of store.list()) {
      const { stripe, schemeNumber } = chunkIdParts(id);
      if (schemeNumber === METADATA_SCHEME_NUMBER) continue;
      if (!isGood) throw new Violation(`a bad chunk is left after repair: ${toHex(id)}`);
      const key = toHex(stripe);
      if (!records.has(key)) throw new Violation(`nothing names the chunk ${toHex(id)}`);
      chunks.set(toHex(id), (chunks.get(toHex(id)) ?? 0) + 1);
    }
  }
  const references = new Set<string>();
  for (const [key, { stripe, schemeNumber, isStored }] of records) {
    if (!isStored) throw new Violation(`stripe ${key} is still pending`);
    const holders = await core.references.holders(stripe);
    if (holders.length === 0) throw new Violation(`nobody holds stripe ${key}, which is wanted`);
    for (const { volume, inode } of holders) references.add(`${key} ${volume}/${inode}`);
    for (let index = 0; index < schemeOfNumber(schemeNumber).n; index++) {
      const suffix =
        schemeNumber.toString(16).padStart(4, '0') + index.toString(16).padStart(4, '0');
      const count = chunks.get(key + suffix) ?? 0;
      if (count !== 1)
        throw new Violation(`shard ${index} of stripe ${key} is there ${count} times`);
    }
  }
  const named = await namedByManifests(core);
  for (const each of references) {
    if (!named.has(each)) throw new Violation(`a reference without a manifest: ${each}`);
  }
  for (const each of named) {
    if (!references.has(each)) throw new Violation(`a manifest without a reference: ${each}`);
  }
  const left = (await core.references.strays()).length + (await core.references.condemned()).length;
  if (left > 0) throw new Violation(`${left} stray or condemned entries are left`);
}

async function checkHealth({ repair }: Core): Promise<void> {
  const { stripes, misplaced, unnamedChunks, badChunks } = await repair.health();
  const { degraded, lost } = stripes;
  const isWhole = [degraded, lost, misplaced, unnamedChunks, badChunks].every((n) => n === 0);
  if (!isWhole) {
    throw new Violation(
      `after repair: ${degraded} degraded, ${lost} lost, ${misplaced} misplaced, ` +
        `${unnamedChunks} unnamed, ${badChunks} bad`,
    );
  }
}

/**
 * The first shards of a stripe, as many as losses are borne and one more, are spread over the
 * machines as evenly as their disks allow; of all shards a machine has no more than may be lost,
 * unless there is no other place.
 */
async function checkSpread({ cluster, references }: Core, world: World): Promise<void> {
  if (!world.net) return;
  const disks = world.standing.map((machine) => machine.stores().length);
  /** The fewest shards on a machine with which `count` have a place. */
  const evenly = (count: number): number => {
    let most = 1;
    while (disks.reduce((sum, each) => sum + Math.min(each, most), 0) < count) most += 1;
    return most;
  };
  const records = await stripeRecords({ references });
  for (const { stripe, schemeNumber } of records.values()) {
    const scheme = schemeOfNumber(schemeNumber);
    const nodes = cluster.place(stripe, scheme).map((device) => device && cluster.nodeOf(device));
    const { width } = cluster.layout();
    for (let count = 1; count <= nodes.length; count++) {
      const first = nodes.slice(0, count);
      const most = Math.max(
        ...world.standing.map(({ id }) => first.filter((node) => node === id).length),
      );
      const least = count <= TOLERANCE + 1 ? evenly(count) : Math.max(TOLERANCE, evenly(width));
      if (most <= least) continue;
      throw new Violation(`${most} of ${count} shards on one machine, ${least} would do`);
    }
  }
}

/** Objects whose put was never answered may be left, under ids that nobody learned. */
async function removeRest(world: World): Promise<void> {
  await mustWork(world, async (core) => {
    const [{ record } = { record: undefined }] = await core.volumes.list();
    if (!record) throw new Violation('the volume is gone');
    const objects = core.volumes.objects(record.name);
    for await (const { id } of objects.list()) await objects.remove(id);
    for await (const { id } of objects.list()) throw new Violation(`${id} is left`);
  });
}

async function checkEmpty(core: Core, stores: readonly ExtentStore[]): Promise<void> {
  for (const store of stores) {
    for await (const { id } of store.list()) {
      if (chunkIdParts(id).schemeNumber === METADATA_SCHEME_NUMBER) continue;
      throw new Violation(`a chunk is left in an empty cluster: ${toHex(id)}`);
    }
  }
  const records = await stripeRecords(core);
  if (records.size > 0)
    throw new Violation(`${records.size} stripes are named in an empty cluster`);
  for (const volume of core.volumes.ids()) {
    const namespace = core.volumes.namespaceOf(volume)!;
    const { objectCount, contentBytes } = await namespace.usage();
    if (objectCount !== 0) throw new Violation(`usage says ${objectCount} objects, there are none`);
    if (contentBytes !== 0) throw new Violation(`usage says ${contentBytes} bytes, there are none`);
    if ((await namespace.releases()).length > 0) throw new Violation('a release is left');
  }
}

/** Space that a store believes taken must be what it finds taken when it is mounted again. */
async function checkSpace(world: World): Promise<void> {
  const before = await usageOf(world);
  await world.restart();
  for (const [id, { chunks, used, step }] of await usageOf(world)) {
    const known = before.get(id);
    if (!known) throw new Violation(`store ${id} was not there before the restart`);
    // Opening writes records of the log and may checkpoint; the allowance for that moves in steps.
    if ((used - known.used) % step !== 0) {
      throw new Violation(
        `store ${id}: ${known.used} bytes used by ${known.chunks} chunks, ` +
          `after a restart ${used} by ${chunks}`,
      );
    }
  }
}

interface Space {
  readonly chunks: number;
  /** Bytes, as is the smallest allowance for metadata. */
  readonly used: number;
  readonly step: number;
}

async function usageOf(world: World): Promise<Map<string, Space>> {
  const found = new Map<string, Space>();
  for (const store of world.stores()) {
    const { usedBytes, sizeBytes, chunkCount } = await store.usage();
    const step = Math.min(sizeBytes / 16, LIMITS.metadataReserveBytesMax);
    found.set(store.id, { chunks: chunkCount, used: usedBytes, step });
  }
  return found;
}
