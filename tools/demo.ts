/**
 * `npm run demo`: three nodes on three ports, a PDF stored on one of them, the local copy deleted
 * and fetched back through another; then once more with a node lost. It says what it does, ends
 * with 0 when the PDF came back byte for byte, and leaves nothing behind.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import type { PlaceView } from '../src/api/index.ts';
import { fileDigest, seededBytes } from '../test/e2e/content.ts';
import type { Bed } from '../test/e2e/harness.ts';
import type { LoopbackCluster } from '../test/e2e/loopback-cluster.ts';
import { DEV_NODES, describeNodes, startDevCluster, withBed } from './dev-cluster.ts';

const [ANNA, BEN, CLEO] = DEV_NODES;
const FILE = 'letter.pdf';
/** Width and height of the picture: enough bytes that the file is cut into shards. */
const PICTURE_PIXELS = 320;

function say(...lines: readonly string[]): void {
  for (const line of lines) console.log(line);
}

async function main(): Promise<void> {
  await withBed(async (bed) => {
    say('1. Three nodes start; the first invites the others, which join with a token.');
    await using cluster = await startDevCluster(bed);
    say(...describeNodes(cluster).map((line) => `   ${line}`));

    const file = bed.path('work', FILE);
    await fs.writeFile(file, await pdfWithPicture());
    const digest = await fileDigest(file);
    const { size } = await fs.stat(file);
    say('', `2. A PDF is made: ${FILE}, ${size} bytes, SHA-256 ${digest.slice(0, 16)}...`);

    say('', `3. On ${ANNA}: holdfast put ${FILE}`);
    const id = await bed.ok(['put', FILE], { data: ANNA });
    say(`   Stored; its id is ${id}.`, ...(await whereLines(cluster, id)));

    await fs.rm(file);
    say('', `4. The local ${FILE} is deleted.`);
    await fetchAndCompare(bed, { node: CLEO, id, digest, step: 5 });

    await fs.rm(file);
    await cluster.kill(BEN);
    say(
      '',
      `6. The local copy is deleted again, and node ${BEN} is killed, with all that it holds.`,
    );
    await fetchAndCompare(bed, { node: ANNA, id, digest, step: 7 });
    say(
      '',
      'Both times the PDF came back byte for byte. The nodes are stopped, their folder removed.',
    );
  });
}

interface Fetch {
  readonly node: string;
  readonly id: string;
  readonly digest: string;
  readonly step: number;
}

async function fetchAndCompare(bed: Bed, { node, id, digest, step }: Fetch): Promise<void> {
  say('', `${step}. On ${node}: holdfast get ${id}`);
  const name = await bed.ok(['get', id], { data: node });
  const found = await fileDigest(bed.path('work', name));
  assert.equal(found, digest, 'the PDF that came back is the one that was stored');
  say(`   It made ${name}, SHA-256 ${found.slice(0, 16)}...: the same.`);
}

/** How many pieces of the file each node holds. */
async function whereLines(cluster: LoopbackCluster, id: string): Promise<string[]> {
  const counts = new Map<string, number>();
  const count = ({ shards, stores }: PlaceView): void => {
    for (const store of shards.flatMap(({ foundAt }) => foundAt)) {
      const node = stores[store]?.node ?? 'an unknown node';
      counts.set(node, (counts.get(node) ?? 0) + 1);
    }
  };
  await cluster.client(ANNA).call('object.where', { reference: id }, { onItem: count });
  const held = DEV_NODES.map((node) => `${node} ${counts.get(node) ?? 0}`);
  return [
    `   Sealed, and cut into pieces of which any four restore it: ${held.join(', ')}.`,
    '   No node sees what is in them: not the content, nor its name, nor its type.',
  ];
}

/** A page with a grey picture of noise on it. Source: ISO 32000-1, 7.5 (file structure). */
async function pdfWithPicture(): Promise<Buffer> {
  const picture = await seededBytes('demo', PICTURE_PIXELS ** 2);
  const drawing = Buffer.from('q 320 0 0 320 137 380 cm /Im Do Q');
  const size = `/Width ${PICTURE_PIXELS} /Height ${PICTURE_PIXELS}`;
  const objects: Uint8Array[] = [
    Buffer.from('<< /Type /Catalog /Pages 2 0 R >>'),
    Buffer.from('<< /Type /Pages /Kids [3 0 R] /Count 1 >>'),
    Buffer.from(
      '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R ' +
        '/Resources << /XObject << /Im 5 0 R >> >> >>',
    ),
    streamObject('', drawing),
    streamObject(
      `/Type /XObject /Subtype /Image ${size} /ColorSpace /DeviceGray /BitsPerComponent 8 `,
      picture,
    ),
  ];
  const pieces: Uint8Array[] = [Buffer.from('%PDF-1.4\n')];
  const offsets: number[] = [];
  const lengthBytes = (): number => pieces.reduce((sum, piece) => sum + piece.length, 0);
  for (const [index, object] of objects.entries()) {
    offsets.push(lengthBytes());
    pieces.push(Buffer.from(`${index + 1} 0 obj\n`), object, Buffer.from('\nendobj\n'));
  }
  const rows = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`);
  const count = objects.length + 1;
  const table = `xref\n0 ${count}\n0000000000 65535 f \n${rows.join('')}`;
  const trailer = `trailer\n<< /Size ${count} /Root 1 0 R >>\nstartxref\n${lengthBytes()}\n%%EOF\n`;
  return Buffer.concat([...pieces, Buffer.from(table + trailer)]);
}

function streamObject(entries: string, bytes: Uint8Array): Buffer {
  const head = `<< ${entries}/Length ${bytes.length} >>\nstream\n`;
  return Buffer.concat([Buffer.from(head), bytes, Buffer.from('\nendstream')]);
}

await main();
