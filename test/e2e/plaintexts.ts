/**
 * Conspicuous plaintexts, and the search for them: contents, file names, keys, types and the name
 * of a volume that must be nowhere on the disks of who keeps them.
 */
import fs from 'node:fs/promises';
import path from 'node:path';

/** Long enough not to turn up by chance. */
const LINE = 'The quick brown fox keeps her acorns in Holdfast. ';
const PNG_START = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
export const SECRET_VOLUME = 'tax-returns';

export interface Secret {
  readonly fileName: string;
  readonly key: string;
  readonly content: Buffer;
}

/** Kept as copies, as shards, as the last short stripe; as text and with the mark of a type. */
export const SECRETS: readonly Secret[] = [
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
  SECRET_VOLUME,
];

/** Which of the plaintexts are in these files, byte for byte. */
export async function plaintextsIn(files: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const file of files) {
    const bytes = await fs.readFile(file);
    for (const word of WORDS) {
      if (isIn(bytes, word)) found.push(`${path.basename(file)}: ${word.toString('latin1')}`);
    }
  }
  return found;
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
