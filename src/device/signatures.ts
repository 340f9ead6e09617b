/**
 * What is on a device before a store is made there: the guard of other people's data. Signatures of
 * filesystems, partition tables, volumes and the like are blkid(8)'s to know. What it does not know
 * shows in the first and the last MiB, where nearly everything keeps something: a blank device has
 * zeros there (or ones, as erased flash has). The middle is not looked at.
 *
 * A device with a superblock of ours holds a store, and that is for `store` to judge. Only a whole
 * superblock in block 0 outweighs a signature: copies further in survive what others write later,
 * and so does the start of block 0, which some take for a boot loader.
 */
import { resolve } from 'node:path';
import { asBuffer, errorCode, HoldfastError, LIMITS, MiB, xxh64 } from '../base/index.ts';
import type { BlockDevice } from './block-device.ts';
import { outputOf } from './tools.ts';

const { blockBytes } = LIMITS;

/** Where a store keeps its superblock, and how each copy begins; docs/formats/store.md. */
const SUPERBLOCK_BLOCKS = [0, 16, 2048, 2064];
const SUPERBLOCK_MAGIC = Buffer.from('HFSTORE1');
const CHECKSUM_AT: number = blockBytes - 8;

/** What blkid exits with when it finds nothing, and when signatures contradict each other. */
const BLKID_NOTHING = 2;
const BLKID_AMBIVALENT = 8;

const UNKNOWN_CONTENT = 'data of unknown origin';

/**
 * What is on the device that is not ours, in words that follow "it holds"; `undefined`: nothing, or
 * a store.
 * @throws HF_IO.
 */
export async function foreignContent(device: BlockDevice): Promise<string | undefined> {
  if (await isSuperblockWhole(device)) return undefined;
  const signature = await signatureOf(device);
  if (signature !== undefined) return signature;
  if (await hasSuperblocks(device)) return undefined;
  for (const { offset, bytes } of ends(device)) {
    const memory = device.allocate(bytes);
    await device.read(memory, offset);
    if (!isBlank(memory)) return UNKNOWN_CONTENT;
  }
  return undefined;
}

/**
 * Refuses a device that somebody has made something else of since it was a store: its later
 * superblocks may still be there, and taking it for a store would destroy what it is now.
 * @throws HF_NOT_OURS, HF_IO.
 */
export async function refuseOverwritten(device: BlockDevice): Promise<void> {
  if (await isSuperblockWhole(device)) return;
  const signature = await signatureOf(device);
  if (signature === undefined) return;
  throw new HoldfastError('HF_NOT_OURS', `${device.name} holds ${signature}, not a store`);
}

/** Takes all signatures away, durably. What lies between the ends stays. @throws HF_IO. */
export async function wipeEnds(device: BlockDevice): Promise<void> {
  for (const { offset, bytes } of ends(device)) {
    await device.write([device.allocate(bytes)], offset);
  }
  await device.flush();
}

/** The first and the last MiB, cut to what there is. */
function ends({ sizeBytes }: BlockDevice): { offset: number; bytes: number }[] {
  const bytes = Math.min(MiB, sizeBytes);
  return [0, sizeBytes - bytes].map((offset) => ({ offset, bytes }));
}

function isBlank(bytes: Uint8Array): boolean {
  const [first] = bytes;
  return (first === 0 || first === 0xff) && bytes.every((byte) => byte === first);
}

/** Whether any block still looks like a superblock of ours. */
export async function hasSuperblocks(device: BlockDevice): Promise<boolean> {
  for (const number of SUPERBLOCK_BLOCKS) {
    if (isSuperblock(await readBlock(device, number))) return true;
  }
  return false;
}

/** Whether the first superblock is as it was written. */
async function isSuperblockWhole(device: BlockDevice): Promise<boolean> {
  const block = await readBlock(device, 0);
  if (!block || !isSuperblock(block)) return false;
  return block.readBigUInt64LE(CHECKSUM_AT) === xxh64(block.subarray(0, CHECKSUM_AT));
}

function isSuperblock(block: Buffer | undefined): boolean {
  return block?.subarray(0, SUPERBLOCK_MAGIC.length).equals(SUPERBLOCK_MAGIC) ?? false;
}

/** A block that cannot be read says nothing. */
async function readBlock(device: BlockDevice, number: number): Promise<Buffer | undefined> {
  if ((number + 1) * blockBytes > device.sizeBytes) return undefined;
  const memory = device.allocate(blockBytes);
  try {
    await device.read(memory, number * blockBytes);
  } catch (error) {
    if (errorCode(error) !== 'HF_IO') throw error;
    return undefined;
  }
  return asBuffer(memory);
}

/**
 * What blkid knows to be there. Where there is no blkid that can be asked, whatever block 0 holds
 * is foreign, but for zeros and what is left of a superblock.
 * @throws HF_IO when blkid hangs.
 */
async function signatureOf(device: BlockDevice): Promise<string | undefined> {
  try {
    return describeSignature(await outputOf('blkid', ['-p', '-o', 'export', resolve(device.name)]));
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === BLKID_AMBIVALENT) return 'more than one kind of content';
    if (code === BLKID_NOTHING) return undefined;
    if (code === 'HF_IO') throw error;
    const block = await readBlock(device, 0);
    return !block || isBlank(block) || isSuperblock(block) ? undefined : UNKNOWN_CONTENT;
  }
}

/** @param tags of blkid, `NAME=value` in lines; a partition has some without any content. */
export function describeSignature(tags: string): string | undefined {
  const value = (name: string): string | undefined => {
    const line = tags.split('\n').find((each) => each.startsWith(`${name}=`));
    // Escaped for a shell; and whatever a label holds, a message stays one line.
    return line
      ?.slice(name.length + 1)
      .replaceAll(/\\(.)/gu, '$1')
      .replaceAll(/\p{C}/gu, '?');
  };
  const type = value('TYPE');
  if (type !== undefined) {
    const label = value('LABEL');
    return describeType(type, value('USAGE')) + (label === undefined ? '' : ` "${label}"`);
  }
  const table = value('PTTYPE');
  if (table === undefined) return undefined;
  return table === 'dos' ? 'an MBR partition table' : `a ${table.toUpperCase()} partition table`;
}

function describeType(type: string, usage: string | undefined): string {
  if (usage === 'filesystem') {
    const isSpokenWithVowel = /^([aeiou]|[fnx][^aeiou])/u.test(type);
    return `${isSpokenWithVowel ? 'an' : 'a'} ${type} filesystem`;
  }
  if (usage === 'raid') return `a member of a RAID or of a volume group (${type})`;
  if (usage === 'crypto') return `an encrypted volume (${type})`;
  return type === 'swap' ? 'swap space' : `something of type ${type}`;
}
