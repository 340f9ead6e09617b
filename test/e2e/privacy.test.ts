/**
 * Aim: whoever has the stores, or the data directory without the keyring, finds neither contents,
 * nor file names, keys, types or names of volumes in them (item 5; row E7, trap 24). Method:
 * conspicuous plaintexts go in; then every file of stores and data directory is searched for them,
 * byte for byte. The keyring is the one file left out: it holds secrets only, and that is checked
 * as well.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { filesUnder } from './content.ts';
import { Bed } from './harness.ts';
import { plaintextsIn, SECRET_VOLUME, SECRETS } from './plaintexts.ts';

it('shows nothing of what it keeps, at rest and while running', async () => {
  await using bed = await Bed.open();
  const node = await bed.up();
  await bed.ok(['volume', 'create', SECRET_VOLUME, '--no-dedup']);
  for (const { fileName, key, content } of SECRETS) {
    await fs.writeFile(bed.path('work', fileName), content);
    await bed.ok(['put', fileName, '--name', key]);
    await bed.ok(['put', fileName, '--name', key, '--volume', SECRET_VOLUME]);
  }
  // What fails is logged, and what is removed stays on the disk for a while.
  expect((await bed.run(['get', 'geheim/nachname.tar'])).exitCode).toBe(3);
  const put = ['put', 'kleinbrief.txt', '--name', 'geheim/kleinbrief'];
  await bed.run(put);
  await bed.ok(['rm', 'geheim/bild', '--volume', SECRET_VOLUME]);
  await bed.ok(['scrub']);
  await bed.ok(['repair']);
  await bed.ok(['key', 'export', bed.path('kit.txt')]);
  await expectHidden(bed);
  await node.kill();
  await expectHidden(bed);
  const again = await bed.up();
  for (const { fileName, key, content } of SECRETS) {
    const { stdout } = await bed.run(['get', key, '-o', '-']);
    expect(stdout.equals(content), fileName).toBe(true);
  }
  await again.stop();
  await expectHidden(bed);
});

async function expectHidden(bed: Bed): Promise<void> {
  const files = await filesUnder(bed.path('data'));
  const names = files.map((file) => path.basename(file));
  expect(names).toEqual(expect.arrayContaining(['holdfast.log', 'keyring.json', 'seg.00000']));
  expect(names.some((name) => name.endsWith('.sqlite'))).toBe(true);
  expect(await plaintextsIn(files)).toEqual([]);
  // The search itself is able to find.
  expect(await plaintextsIn([bed.path('work/röntgenbild.png')])).toHaveLength(3);
}
