/**
 * Aim: a disk that fills up in the middle of a put refuses it, keeps what it has, and takes puts
 * again once something was removed (item 7; trap 35, row E2). Method: a node on a small filesystem
 * in memory, which only root can mount: without that the test is skipped, and says so.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeSeeded } from './content.ts';
import { Bed } from './harness.ts';
import { digestByClient } from './library.ts';
import { mountSmallDisk, type SmallDisk } from './small-disk.ts';

/** Six stores begin with 16 MiB each; the rest is room to grow. */
const DISK_MIB = 200;

let bed: Bed;
let disk: SmallDisk;

beforeEach(async () => {
  bed = await Bed.open();
  disk = await mountSmallDisk(bed.path('disk'), DISK_MIB);
});

afterEach(async () => {
  await bed.stopAll();
  disk[Symbol.dispose]();
  await bed[Symbol.asyncDispose]();
});

it('refuses what does not fit, keeps what is there, goes on after a removal', async (context) => {
  if (!disk.isMounted) {
    console.warn('SKIPPED: no test of a full disk, because only root can mount a small one');
    context.skip();
  }
  const data = 'disk/data';
  const node = await bed.up({ data });
  const kept = await writeSeeded(bed.path('kept'), { seed: 'kept', sizeBytes: 12_000_001 });
  const victim = await writeSeeded(bed.path('victim'), { seed: 'victim', sizeBytes: 25_000_000 });
  const huge = await writeSeeded(bed.path('huge'), { seed: 'huge', sizeBytes: 300_000_000 });
  const keptId = await bed.ok(['put', kept.file], { data });
  const victimId = await bed.ok(['put', victim.file], { data });
  const before = await bed.list({ data });
  const usedBefore = await bed.usedBytes({ data });
  using client = node.connect();

  for (let round = 0; round < 3; round += 1) {
    const { exitCode, stderr, stdout } = await bed.run(['put', huge.file], { data });
    expect(stderr).toMatch(/^holdfast: [^\n]*(full|space|capacity)[^\n]*\n$/);
    expect(exitCode).toBe(5);
    expect(stdout.toString()).toBe('');
    expect(await bed.list({ data })).toEqual(before);
    expect(await digestByClient(client, keptId)).toBe(kept.digest);
  }
  await bed.ok(['repair'], { data });
  const health = await bed.health({ data });
  expect(health.exitCode).toBe(0);
  expect(health.unnamedChunks).toBe(0);
  const usedAfter = await bed.usedBytes({ data });
  expect(usedAfter - usedBefore, 'the refused puts left nothing').toBeLessThan(4_000_000);

  await bed.ok(['rm', victimId], { data });
  expect(await bed.usedBytes({ data })).toBeLessThan(usedAfter - victim.sizeBytes);
  const again = await bed.ok(['put', victim.file], { data });
  expect(await digestByClient(client, again)).toBe(victim.digest);
  await node.stop();

  const restarted = await bed.up({ data });
  using later = restarted.connect();
  expect(await digestByClient(later, keptId)).toBe(kept.digest);
  expect(await digestByClient(later, again)).toBe(victim.digest);
  await restarted.stop();
});
