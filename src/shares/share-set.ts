/**
 * Share files that somebody has gathered: which of them belong together, and which are bad. What is
 * said of a file here is read from its header and trailer; its content is checked by the callers.
 */
import path from 'node:path';
import { errorCode, HoldfastError, mapBounded, toHex } from '../base/index.ts';
import { type EnvelopeFields, FileSeal, readEnvelope } from './file-seal.ts';
import { faultOf, type FileGroup, findFiles, groupFiles, InputFile, NOT_THERE } from './files.ts';
import {
  decodeHeader,
  decodeTrailer,
  HEADER_BYTES_MAX,
  shareDataBytes,
  type ShareHeader,
  type ShareTrailer,
  TRAILER_BYTES,
} from './sf-format.ts';
import type { UnitWidth } from './share-field.ts';

export interface Share {
  readonly path: string;
  readonly size: number;
  readonly header: ShareHeader & { readonly row: readonly number[] };
  readonly headerBytes: number;
  /** Of a sealed file. */
  readonly trailer: (ShareTrailer & { readonly file: EnvelopeFields }) | undefined;
}

export interface BadShare {
  readonly path: string;
  readonly reason: string;
}

/** The shares of one range of the stream. */
export interface ChunkShares {
  readonly start: number;
  readonly next: number;
  readonly isFinal: boolean;
  readonly shares: readonly Share[];
}

export interface ShareSet {
  readonly k: number;
  readonly width: UnitWidth;
  /** Absent when the shares are plain. */
  readonly sealed: EnvelopeFields | undefined;
  /** Made when a key was asked for. */
  readonly seal: FileSeal | undefined;
  readonly shares: readonly Share[];
  readonly bad: readonly BadShare[];
}

const SHARE_FILE_ENDING = '.sf';
const HEAD_BYTES = 4096;
const OPENS_MAX = 16;

/** Share files that are named, and those of folders that are named, each once. */
export async function findShareFiles(places: readonly string[]): Promise<string[]> {
  return await findFiles(places, SHARE_FILE_ENDING);
}

/**
 * @param options.shareKey asked for when the shares are sealed; none when only sums are wanted.
 * @throws HF_BAD_ARGUMENT when there are enough shares of two files, HF_TOO_FEW_SHARDS when there
 *   are no good ones, HF_WRONG_KEY.
 */
export async function openShareSet(
  paths: readonly string[],
  { shareKey }: { readonly shareKey?: (() => Promise<Uint8Array>) | undefined } = {},
): Promise<ShareSet> {
  const bad: BadShare[] = [];
  const shares: Share[] = [];
  const inspected = await mapBounded(paths, OPENS_MAX, (path) =>
    inspectShare(path).catch((error: unknown) => ({ path, reason: faultOf(error, path) })),
  );
  for (const result of inspected) {
    if ('reason' in result) bad.push(result);
    else shares.push(result);
  }
  const [first, ...others] = shares.length === 0 ? [] : pickFile(shares);
  if (!first) throw noShares(bad);
  for (const share of others.flat()) bad.push({ path: share.path, reason: OTHER_FILE });
  const { header, trailer } = first[0]!;
  const seal =
    trailer && shareKey
      ? FileSeal.fromEnvelope({ key: await shareKey(), envelope: trailer.envelope })
      : undefined;
  return { k: header.k, width: header.width, sealed: trailer?.file, seal, shares: first, bad };
}

const OTHER_FILE = 'it is a share of another file, or of another split of it';

function noShares(bad: readonly BadShare[]): HoldfastError {
  const [one] = bad;
  const message = one
    ? `no good share: ${one.path}: ${one.reason}`
    : 'there are no share files (.sf)';
  const areThere = bad.some(({ reason }) => reason !== NOT_THERE);
  return new HoldfastError(areThere ? 'HF_TOO_FEW_SHARDS' : 'HF_NOT_FOUND', message);
}

/**
 * Header and trailer of a share file, or what is wrong with them.
 * @throws HF_NOT_FOUND, and whatever else says nothing about the share.
 */
export async function inspectShare(file: string): Promise<Share | BadShare> {
  try {
    await using input = await InputFile.open(file);
    const { header, headerBytes } = await readHeader(input);
    const { row } = header;
    if (!row) return { path: file, reason: 'its matrix row is not in it' };
    const extra = input.size - headerBytes - shareDataBytes(header);
    const share = { path: file, size: input.size, header: { ...header, row }, headerBytes };
    if (extra === 0) return { ...share, trailer: undefined };
    if (extra !== TRAILER_BYTES) return { path: file, reason: lengthReason(extra) };
    const bytes = new Uint8Array(TRAILER_BYTES);
    await input.read(bytes, input.size - TRAILER_BYTES);
    const trailer = decodeTrailer(bytes);
    if (!trailer) return { path: file, reason: 'its trailer is damaged' };
    return { ...share, trailer: { ...trailer, file: readEnvelope(trailer.envelope) } };
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'HF_CORRUPT' && code !== 'HF_UNSUPPORTED' && code !== 'HF_IO') throw error;
    return { path: file, reason: faultOf(error, file) };
  }
}

async function readHeader(input: InputFile): Promise<ReturnType<typeof decodeHeader>> {
  const head = new Uint8Array(Math.min(HEAD_BYTES, input.size));
  await input.read(head, 0);
  try {
    return decodeHeader(head);
  } catch (error) {
    if (input.size <= HEAD_BYTES) throw error;
  }
  const longer = new Uint8Array(Math.min(HEADER_BYTES_MAX, input.size));
  await input.read(longer, 0);
  return decodeHeader(longer);
}

function lengthReason(extra: number): string {
  if (extra < 0) return `it is cut short by ${-extra} bytes or more`;
  if (extra < TRAILER_BYTES) return `it is ${extra} bytes too long, or its trailer is cut short`;
  return `it is ${extra} bytes too long, or ${extra - TRAILER_BYTES} when it is sealed`;
}

/** Shares of one file first, then those of others. @throws HF_BAD_ARGUMENT. */
function pickFile(shares: readonly Share[]): Share[][] {
  const files = [...Map.groupBy(shares, fileKey).values()];
  const restorable = files.filter((group) => hasQuorum(group));
  if (restorable.length > 1) throw mixed(restorable[0]![0]!, restorable[1]![0]!);
  const chosen = restorable[0] ?? files.toSorted((a, b) => b.length - a.length)[0]!;
  return [chosen, ...files.filter((group) => group !== chosen)];
}

/** What shares of one file have in common; plain ones of several may have it as well. */
export function fileKey({ header, trailer }: Share): string {
  const { k, width } = header;
  return `${k}/${width}/${trailer ? toHex(trailer.envelope) : 'plain'}`;
}

function rangeKey({ header: { start, next, isFinal } }: Share): string {
  return `${start}/${next}/${isFinal}`;
}

function hasQuorum(shares: readonly Share[]): boolean {
  return [...Map.groupBy(shares, rangeKey).values()].some((group) => isQuorum(group));
}

function isQuorum(group: readonly Share[]): boolean {
  return group.length >= group[0]!.header.k;
}

/**
 * Ranges that fit each other, in the order of the stream, maybe with gaps; the shares of those that
 * do not fit are bad. @throws HF_BAD_ARGUMENT when enough of two files are there.
 */
export function pickChunks(shares: readonly Share[], bad: BadShare[]): ChunkShares[] {
  const groups = [...Map.groupBy(shares, rangeKey).values()].toSorted(
    (a, b) => b.length - a.length,
  );
  const chunks: ChunkShares[] = [];
  for (const group of groups) {
    const { start, next, isFinal } = group[0]!.header;
    const other = chunks.find((chunk) => isConflict(chunk, { start, next, isFinal }));
    if (!other) chunks.push({ start, next, isFinal, shares: group });
    else if (isQuorum(group)) throw mixed(other.shares[0]!, group[0]!);
    else for (const { path } of group) bad.push({ path, reason: OTHER_FILE });
  }
  return chunks.toSorted((a, b) => a.start - b.start);
}

type Range = Pick<ChunkShares, 'start' | 'next' | 'isFinal'>;

function isConflict(a: Range, b: Range): boolean {
  const overlaps = a.start < b.next && b.start < a.next;
  const isBeyond = (a.isFinal && b.next > a.next) || (b.isFinal && a.next > b.next);
  return overlaps || isBeyond || (a.isFinal && b.isFinal) || a.start === b.start;
}

function mixed(a: Share, b: Share): HoldfastError {
  const message =
    `these are shares of different files, ${a.path} and ${b.path}; ` +
    'give those of one, or say which with --name';
  return new HoldfastError('HF_BAD_ARGUMENT', message);
}

/** Whether a share file has the name that `split` gives to those of a file. */
export function isNamedFor(name: string, file: string): boolean {
  const rest = path.basename(file).startsWith(name) ? path.basename(file).slice(name.length) : '';
  return /^(-\d+){1,2}\.sf$/.test(rest);
}

/** As {@link groupFiles}: one for each file, which of plain shares the name tells as well. */
export async function groupShareFiles(paths: readonly string[]): Promise<FileGroup[]> {
  return await groupFiles(paths, {
    async labelOf(file) {
      const share = await inspectShare(file).catch(() => undefined);
      if (!share || !('header' in share)) return undefined;
      const name = stemOf(share);
      return { key: share.trailer ? fileKey(share) : `${fileKey(share)}/${name}`, name };
    },
    isNamedFor,
  });
}

/** Whether it is a share of a chunk that is not the whole file. */
export function isOfPart({ header: { start, isFinal } }: Share): boolean {
  return start > 0 || !isFinal;
}

/** `photos.tar` of `photos.tar-2.sf`, or of `photos.tar-1-2.sf` where it is of a chunk. */
export function stemOf(share: Share): string {
  return path.basename(share.path).replace(isOfPart(share) ? /-\d+-\d+\.sf$/ : /-\d+\.sf$/, '');
}
