/**
 * The recovery kit: the secrets of a whole cluster as a text that can be printed and typed in
 * again. With it and the stores everything comes back; the identity of nodes is not in it, they
 * make new ones.
 *
 *     words for people ‖ BEGIN line ‖ numbered lines ‖ END line with a checksum of all bytes
 *     a numbered line = number, up to 48 bytes in base64, 4 digits of a checksum of the line
 *
 * Only what stands between BEGIN and END is read. Each line has its own checksum, so that a
 * mistyped one is named. Checksums are XXH64: they find accidents, a kit is trusted as it is.
 */
import {
  asBuffer,
  assert,
  ByteReader,
  ByteWriter,
  type ClusterId,
  fromHex,
  hexId,
  HoldfastError,
  utf8,
  type VolumeId,
} from '../base/index.ts';
import { KEY_BYTES } from './aes-gcm.ts';
import { checksumText } from './keyring.ts';

export interface RecoveryKit {
  readonly clusterId: ClusterId;
  readonly clusterKey: Uint8Array;
  readonly metadataKey: Uint8Array;
  readonly volumes: readonly {
    readonly id: VolumeId;
    readonly name: string;
    readonly secret: Uint8Array;
  }[];
  /** Where the stores were when the kit was made: a hint for people. */
  readonly storePaths: readonly string[];
  readonly madeAtMs: number;
}

const VERSION = 1;
const ID_BYTES = 16;
const LINE_BYTES = 48;
const TITLE = 'HOLDFAST RECOVERY KIT';
const BEGIN = `-----BEGIN ${TITLE} ${VERSION}-----`;
const END = `-----END ${TITLE}`;

/** Text of ASCII lines that ends with a line feed; secret. */
export function encodeRecoveryKit(kit: RecoveryKit): string {
  const bytes = asBuffer(kitBytes(kit));
  const count = Math.ceil(bytes.length / LINE_BYTES);
  const lines = Array.from({ length: count }, (_, index) => {
    const part = bytes.subarray(index * LINE_BYTES, (index + 1) * LINE_BYTES);
    const numbered = `${String(index + 1).padStart(3, '0')} ${part.toString('base64')}`;
    return `${numbered} ${lineChecksum(numbered)}`;
  });
  return [...wordsOf(kit), BEGIN, ...lines, `${END} ${checksumText(bytes)}-----`, ''].join('\n');
}

/**
 * @throws HF_WRONG_KEY when the text is something else, HF_UNSUPPORTED when a newer Holdfast wrote
 *   it, HF_CORRUPT when it is damaged, each with one line that says where.
 */
export function decodeRecoveryKit(text: string): RecoveryKit {
  const lines = text.split('\n').map((line) => line.trim());
  const beginAt = lines.findIndex((line) => line.startsWith(`-----BEGIN ${TITLE} `));
  if (beginAt < 0) throw notAKit(text);
  if (lines[beginAt] !== BEGIN) {
    throw new HoldfastError(
      'HF_UNSUPPORTED',
      `the recovery kit is not of version ${VERSION}; use the Holdfast that made it`,
    );
  }
  const endAt = lines.findIndex((line, index) => index > beginAt && line.startsWith(END));
  if (endAt < 0) throw corrupt('it is cut short, its END line is missing');
  const numbered = lines.slice(beginAt + 1, endAt).filter((line) => line !== '');
  const bytes = Buffer.concat(numbered.map(readLine));
  if (lines[endAt] !== `${END} ${checksumText(bytes)}-----`) {
    throw corrupt('lines are missing at its end, or its END line is mistyped');
  }
  return kitOf(bytes);
}

function kitBytes(kit: RecoveryKit): Uint8Array {
  const { clusterId, clusterKey, metadataKey, volumes, storePaths, madeAtMs } = kit;
  for (const key of [clusterKey, metadataKey, ...volumes.map((volume) => volume.secret)]) {
    assert(key.length === KEY_BYTES, 'a key is 32 bytes');
  }
  const writer = new ByteWriter().u64(madeAtMs).raw(fromHex(clusterId));
  writer.raw(clusterKey).raw(metadataKey).u32(volumes.length);
  for (const { id, name, secret } of volumes) writer.raw(fromHex(id)).raw(secret).text(name);
  writer.u32(storePaths.length);
  for (const path of storePaths) writer.text(path);
  return writer.finish();
}

function kitOf(bytes: Uint8Array): RecoveryKit {
  const reader = new ByteReader(bytes, 'the recovery kit');
  const key = () => new Uint8Array(reader.raw(KEY_BYTES));
  const kit = {
    madeAtMs: reader.u64(),
    clusterId: hexId<ClusterId>(reader.raw(ID_BYTES)),
    clusterKey: key(),
    metadataKey: key(),
    volumes: readList(reader, () => ({
      id: hexId<VolumeId>(reader.raw(ID_BYTES)),
      secret: key(),
      name: reader.text(),
    })),
    storePaths: readList(reader, () => reader.text()),
  };
  reader.end();
  return kit;
}

/** Stops at the end of the input, whatever the count says. */
function readList<Item>(reader: ByteReader, readItem: () => Item): Item[] {
  const items: Item[] = [];
  for (let count = reader.u32(); count > 0; count--) items.push(readItem());
  return items;
}

function wordsOf({ clusterId, volumes, storePaths, madeAtMs }: RecoveryKit): string[] {
  return [
    TITLE,
    '',
    'What this is: the keys of a Holdfast cluster. Together with its stores (the folders',
    'or disks that hold its shards) they bring back everything, even after the loss of',
    'every machine. Without keys, what the stores hold cannot be read by anyone.',
    '',
    'Keep it secret and keep it elsewhere: print it, or copy it to a place that does not',
    'burn with the machines. Whoever has it and enough stores can read everything.',
    'Make a new one whenever a volume is added.',
    '',
    'How to use it: attach the stores to a machine with Holdfast and run',
    '',
    '    holdfast up --recover FILE',
    '',
    'where FILE is this text, from the BEGIN line to the END line at least.',
    '',
    `Made:    ${new Date(madeAtMs).toISOString()}`,
    `Cluster: ${clusterId}`,
    ...volumes.map(({ id, name }) => `Volume:  ${id} ${ascii(name)}`),
    ...storePaths.map((path) => `Store:   ${ascii(path)}`),
    '',
  ];
}

/** The text as one line of ASCII between quotes, other characters as JSON escapes. */
function ascii(text: string): string {
  return JSON.stringify(text).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function lineChecksum(numbered: string): string {
  return checksumText(utf8(numbered)).slice(0, 4);
}

function readLine(line: string, index: number): Buffer {
  const [number = '', base64 = '', checksum = '', ...more] = line.split(/\s+/);
  const isWhole = more.length === 0 && checksum === lineChecksum(`${number} ${base64}`);
  if (!isWhole) throw corrupt(`line ${index + 1} after its BEGIN line is mistyped`);
  if (Number(number) !== index + 1) {
    throw corrupt(`line ${index + 1} is missing, line ${Number(number)} stands in its place`);
  }
  return Buffer.from(base64, 'base64');
}

function notAKit(text: string): HoldfastError {
  if (text.trim() === '') return corrupt('it is empty');
  if (text.includes(TITLE)) return corrupt('its BEGIN line is missing or mistyped');
  return new HoldfastError('HF_WRONG_KEY', 'this is not a recovery kit');
}

function corrupt(reason: string): HoldfastError {
  return new HoldfastError('HF_CORRUPT', `the recovery kit is damaged: ${reason}`);
}
