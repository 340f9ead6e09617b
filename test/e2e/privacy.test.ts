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

/** Long enough not to turn up by chance. */
const LINE = 'The quick brown fox keeps her acorns in Holdfast. ';
const PNG_START = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
const VOLUME = 'tax-returns';

interface Secret {
  readonly fileName: string;
  readonly key: string;
  readonly content: Buffer;
}

/** Kept as copies, as shards, as the last short stripe; as text and with the mark of a type. */
const SECRETS: readonly Secret[] = [
  { fileName: 'kleinbrief.txt', key: 'geheim/kleinbrief', content: Buffer.from(LINE) },
  {
    fileName: 'grossbrief.docx',
    key: 'geheim/grossbrief',
    content: Buffer.alloc(11_000_000, LINE),
  },
  {
    fileName: 'röntgenbild.png',
    key: 'geheim/bild',
    content: Buffer.concat([PNG_START, Buffer.alloc(300_000, LINE)]),
  },
];

const WORDS: readonly (string | Buffer)[] = [
  'quick brown fox',
  'in Holdfast. The',
  PNG_START,
  ...SECRETS.flatMap(({ fileName, key }) => [fileName, key, path.parse(fileName).name]),
  'geheim',
  'image/png',
  'text/plain',
  'wordprocessingml',
  'nachname.tar',
  VOLUME,
];

it('shows nothing of what it keeps, at rest and while running', async () => {
  await using bed = await Bed.open();
  const node = await bed.up();
  await bed.ok(['volume', 'create', VOLUME, '--no-dedup']);
  for (const { fileName, key, content } of SECRETS) {
    await fs.writeFile(bed.path('work', fileName), content);
    await bed.ok(['put', fileName, '--name', key]);
    await bed.ok(['put', fileName, '--name', key, '--volume', VOLUME]);
  }
  // What fails is logged, and what is removed stays on the disk for a while.
  expect((await bed.run(['get', 'geheim/nachname.tar'])).exitCode).toBe(3);
  const put = ['put', 'kleinbrief.txt', '--name', 'geheim/kleinbrief'];
  await bed.run(put);
  await bed.ok(['rm', 'geheim/bild', '--volume', VOLUME]);
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
  const found: string[] = [];
  for (const file of files) {
    const bytes = await fs.readFile(file);
    for (const word of WORDS) {
      if (isIn(bytes, word)) found.push(`${path.basename(file)}: ${word.toString('latin1')}`);
    }
  }
  expect(found).toEqual([]);
  // The search itself is able to find.
  const original = await fs.readFile(bed.path('work/röntgenbild.png'));
  expect([isIn(original, PNG_START), isIn(original, 'quick brown fox')]).toEqual([true, true]);
}

/** As it is, and as other programs would write it down: UTF-16, hexadecimal, Base64. */
function isIn(bytes: Buffer, word: string | Buffer): boolean {
  const plain = Buffer.from(word);
  const forms = [
    plain,
    Buffer.from(plain.toString('latin1'), 'utf16le'),
    Buffer.from(plain.toString('hex')),
    // Without the ends, which depend on what stands beside it.
    Buffer.from(plain.subarray(0, plain.length - (plain.length % 3)).toString('base64')),
  ];
  return forms.some((form) => bytes.includes(form));
}
