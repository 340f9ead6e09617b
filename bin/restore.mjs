#!/usr/bin/env node
// Restores a file from any k of its chunk files, plain or sealed. Needs this file and Node 20 or
// newer, nothing else: keep a copy beside your chunk files. Format: docs/formats/chunk-file.md.
//
//     node restore.mjs OUT CHUNK-FILE-OR-FOLDER... [--key KEY-FILE]
import { createDecipheriv, createHash, createHmac } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const USAGE = 'usage: node restore.mjs OUT CHUNK-FILE-OR-FOLDER... [--key KEY-FILE]';
const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const keyed = (key, ...parts) => createHmac('sha256', key).update(Buffer.concat(parts)).digest();
const warn = (message) => console.error(`restore: warning: ${message}`);
const fail = (message) => {
  throw new Error(message);
};

// GF(2^8) modulo 0x11d, by logarithms to the base 2.
const exp = new Uint8Array(510);
const log = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++, x = x & 128 ? (x << 1) ^ 0x11d : x << 1) {
  exp[i] = exp[i + 255] = x;
  log[x] = i;
}
const times = (a, b) => (a && b ? exp[log[a] + log[b]] : 0);
const divided = (a, b) => (a ? exp[log[a] + 255 - log[b]] : 0);

// Byte by byte, block i of a stripe is the value at i of one polynomial of degree k - 1: any k
// values give all others (Lagrange).
function interpolated(blocks, at) {
  const result = Buffer.alloc(blocks.values().next().value.length);
  for (const [index, block] of blocks) {
    const others = [...blocks.keys()].filter((other) => other !== index);
    const weight = others.reduce((w, other) => divided(times(w, at ^ other), index ^ other), 1);
    const product = Uint8Array.from({ length: 256 }, (_, byte) => times(byte, weight));
    for (let i = 0; i < result.length; i++) result[i] ^= product[block[i]];
  }
  return result;
}

// Undefined where nothing can be read: that is as good as bad bytes.
function readAt(fd, offset, bytes) {
  const buffer = Buffer.alloc(bytes);
  try {
    return fs.readSync(fd, buffer, 0, bytes, offset) === bytes ? buffer : undefined;
  } catch {
    return undefined;
  }
}

function readHeader(fd, offset, bytes) {
  const b = bytes >= 4096 && bytes <= 65536 ? readAt(fd, offset, bytes) : undefined;
  if (!b || !sha256(b.subarray(0, -32)).equals(b.subarray(-32))) return undefined;
  const [matrixId, k, n] = b.subarray(8);
  if (b.toString('latin1', 0, 8) !== 'HFCHUNK1' || matrixId !== 1) return undefined;
  const [blockBytes, contentBytes] = [b.readUInt32LE(16), Number(b.readBigUInt64LE(24))];
  const rootsAt = 64 + b.readUInt32LE(20);
  const setId = sha256(b.subarray(0, rootsAt + 32 * n)).toString('hex');
  const index = b.readUInt32LE(bytes - 36);
  const root = b.subarray(rootsAt + 32 * index, rootsAt + 32 * index + 32);
  const [digest, envelope] = [b.subarray(32, 64), b.subarray(64, rootsAt)];
  const stripes = Math.ceil(contentBytes / (blockBytes * k));
  // The content of a stripe, and the place and length of its blocks.
  const stripe = (number) => {
    const content = Math.min(blockBytes * k, contentBytes - number * blockBytes * k);
    return { content, at: bytes + number * blockBytes, length: Math.ceil(content / k) };
  };
  return { bytes, k, setId, index, root, digest, envelope, stripes, stripe };
}

// A chunk file with its table of checksums: the header vouches for the table, it for the blocks.
function openChunk(path) {
  try {
    const fd = fs.openSync(path, 'r');
    const { size } = fs.fstatSync(fd);
    const endBytes = readAt(fd, size - 40, 4)?.readUInt32LE();
    const header =
      readHeader(fd, 0, readAt(fd, 12, 4)?.readUInt32LE()) ??
      readHeader(fd, size - endBytes, endBytes);
    if (!header) fail('it has no good header');
    const { stripes, stripe, bytes, root } = header;
    const { at, length } = stripes > 0 ? stripe(stripes - 1) : { at: bytes, length: 0 };
    const table = readAt(fd, at + length, 32 * stripes);
    if (!table || !sha256(table).equals(root)) fail('its table of checksums is bad');
    return [{ ...header, fd, path, table }];
  } catch (error) {
    warn(`${path}: ${error.message}`);
    return [];
  }
}

// The chunk files of the one set that can be restored.
function openSet(paths) {
  const chunks = paths.flatMap(openChunk).sort((a, b) => a.index - b.index);
  const ids = [...new Set(chunks.map(({ setId }) => setId))];
  const sets = ids.map((id) => chunks.filter(({ setId }) => setId === id));
  const have = (set) => new Set(set.map(({ index }) => index)).size;
  const [set, other] = sets.sort((a, b) => have(b) / b[0].k - have(a) / a[0].k);
  if (!set || have(set) < set[0].k) fail(`have ${set ? have(set) : 0}, need ${set?.[0].k ?? 'k'}`);
  if (other && have(other) >= other[0].k) fail('files are mixed; name the chunk files of one');
  for (const { path } of chunks.filter((c) => !set.includes(c))) warn(`${path}: of another file`);
  return set;
}

// Content of a stripe, from k blocks whose checksums are right.
function readStripe(chunks, number) {
  const { k, stripe } = chunks[0];
  const { content, length } = stripe(number);
  const good = new Map();
  for (const { fd, path, index, table, stripe: placeOf } of chunks) {
    if (good.size === k || good.has(index)) continue;
    const block = readAt(fd, placeOf(number).at, length);
    const checksum = table.subarray(32 * number, 32 * number + 32);
    if (block && sha256(block).equals(checksum)) good.set(index, block);
    else warn(`${path}: stripe ${number} is bad`);
  }
  if (good.size < k) fail(`have ${good.size}, need ${k} of stripe ${number}`);
  const pieces = Array.from({ length: k }, (_, at) => good.get(at) ?? interpolated(good, at));
  return Buffer.concat(pieces).subarray(0, content);
}

// Sealed files: the file's key follows from the key file and the envelope.
function openSeal(envelope, keyPath) {
  if (keyPath === undefined) fail('the file is sealed: give --key');
  if (!fs.existsSync(keyPath)) fail(`there is no key file ${keyPath}`);
  const text = fs.readFileSync(keyPath, 'utf8');
  const key = Buffer.from(text.trim().split(/\s+/)[1] ?? '', 'hex');
  const named = (label, ...parts) => keyed(key, Buffer.from(`holdfast/${label}/1`), ...parts);
  const check = named('share-key-check').subarray(0, 8);
  if (!check.equals(envelope.subarray(8, 16))) fail('the key does not fit');
  const [size, fileId] = [envelope.subarray(16, 24), envelope.subarray(24, 56)];
  const fileKey = named('share-seal', size, fileId);
  const count = Math.max(1, Math.ceil(Number(size.readBigUInt64LE()) / 65536));
  const u32 = (...values) => Buffer.from(values.flatMap((v) => [v >>> 24, v >>> 16, v >>> 8, v]));
  let index = 0;
  const openSegment = (sealed) => {
    const nonce = u32(0, index, ++index === count ? 1 : 0);
    const decipher = createDecipheriv('aes-256-gcm', fileKey, nonce, { authTagLength: 16 });
    decipher.setAAD(u32(1, count)).setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
  };
  const open = (content) => {
    const plain = [];
    for (let at = 0; at < content.length; at += 65552)
      plain.push(openSegment(content.subarray(at, at + 65552)));
    return Buffer.concat(plain);
  };
  return { open, isOf: (digest) => named('share-file', size, digest).equals(fileId) };
}

// A folder stands for the chunk files in it.
function chunkFiles(place) {
  if (!fs.statSync(place, { throwIfNoEntry: false })?.isDirectory()) return [place];
  const names = fs.readdirSync(place).filter((name) => name.endsWith('.hfc'));
  return names.map((name) => join(place, name));
}

function restore(out, paths, keyPath) {
  if (fs.existsSync(out)) fail(`${out} exists`);
  const chunks = openSet(paths);
  const { stripes, digest, envelope } = chunks[0];
  const plain = { open: (content) => content, isOf: (found) => found.equals(digest) };
  const seal = envelope.length > 0 ? openSeal(envelope, keyPath) : plain;
  const hash = createHash('sha256');
  const part = `${out}.${process.pid}.part`;
  const file = fs.openSync(part, 'wx');
  try {
    for (let number = 0; number < stripes; number++) {
      const bytes = seal.open(readStripe(chunks, number));
      hash.update(bytes);
      fs.writeFileSync(file, bytes);
      if (process.stderr.isTTY) process.stderr.write(`\r${number + 1} of ${stripes} stripes`);
    }
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    if (!seal.isOf(hash.digest())) fail('what was restored is not the file that was cut');
    fs.fsyncSync(file);
    fs.renameSync(part, out);
  } finally {
    fs.closeSync(file);
    fs.rmSync(part, { force: true });
  }
}

try {
  const options = { key: { type: 'string' }, help: { type: 'boolean', short: 'h' } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const [out, ...places] = positionals;
  if (values.help) console.log(USAGE);
  else if (places.length === 0) fail(USAGE);
  else restore(out, places.flatMap(chunkFiles), values.key);
} catch (error) {
  console.error(`restore: ${error.message}`);
  process.exitCode = 1;
}
