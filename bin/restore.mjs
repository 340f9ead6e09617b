#!/usr/bin/env node
// Restores a file from any k of its chunk files, plain or sealed. Needs this file and Node 20 or
// newer, nothing else: keep a copy beside your chunk files. Format: docs/formats/chunk-file.md.
//
//     node restore.mjs OUT CHUNK-FILE... [--key KEY-FILE]
import { createDecipheriv, createHash, createHmac } from 'node:crypto';
import fs from 'node:fs';

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

function inverse(matrix) {
  const size = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let c = 0; c < size; c++) {
    const pivot = rows.findIndex((row, i) => i >= c && row[c]);
    [rows[c], rows[pivot]] = [rows[pivot], rows[c]];
    const scale = exp[255 - log[rows[c][c]]];
    rows[c] = rows[c].map((a) => times(a, scale));
    for (let i = 0; i < size; i++) {
      const factor = i === c ? 0 : rows[i][c];
      rows[i] = rows[i].map((a, j) => a ^ times(factor, rows[c][j]));
    }
  }
  return rows.map((row) => row.slice(size));
}

// Row r of the code: (r^0, r^1, …) × the inverse of the first k such rows, so data are copies.
function codeRows(n, k) {
  const power = (r, c) => (c === 0 ? 1 : r === 0 ? 0 : exp[(log[r] * c) % 255]);
  const powers = [...Array(n).keys()].map((r) => [...Array(k).keys()].map((c) => power(r, c)));
  const top = inverse(powers.slice(0, k));
  return powers.map((row) =>
    top.map((_, j) => row.reduce((x, a, i) => x ^ times(a, top[i][j]), 0)),
  );
}

function readAt(fd, offset, bytes) {
  const buffer = Buffer.alloc(bytes);
  return offset >= 0 && fs.readSync(fd, buffer, 0, bytes, offset) === bytes ? buffer : undefined;
}

// A header that is whole, else undefined.
function readHeader(fd, offset, bytes) {
  const b = bytes >= 4096 && bytes <= 65536 ? readAt(fd, offset, bytes) : undefined;
  if (!b || !sha256(b.subarray(0, -32)).equals(b.subarray(-32))) return undefined;
  const [matrixId, k, n] = b.subarray(8);
  if (b.toString('latin1', 0, 8) !== 'HFCHUNK1' || matrixId !== 1) return undefined;
  const rootsAt = 64 + b.readUInt32LE(20);
  const setAt = rootsAt + 32 * n;
  const setId = b.toString('hex', setAt, setAt + 32);
  if (sha256(b.subarray(0, setAt)).toString('hex') !== setId) return undefined;
  const index = b.readUInt32LE(bytes - 36);
  const stripeBytes = b.readUInt32LE(16) * k;
  const contentBytes = Number(b.readBigUInt64LE(24));
  const root = b.subarray(rootsAt + 32 * index, rootsAt + 32 * index + 32);
  const [digest, envelope] = [b.subarray(32, 64), b.subarray(64, rootsAt)];
  return { k, n, index, setId, root, stripeBytes, contentBytes, digest, envelope, bytes };
}

// Where a stripe's content begins, how much it is, and the bytes and place of its blocks.
function stripeOf({ k, stripeBytes, contentBytes, bytes }, stripe) {
  const contentLeft = Math.max(0, contentBytes - stripe * stripeBytes);
  const stripeContent = Math.min(stripeBytes, contentLeft);
  const at = bytes + (stripe * stripeBytes) / k;
  return { at, stripeContent, blockBytes: Math.ceil(stripeContent / k) };
}

// A chunk file with its table of checksums: the header vouches for the table, it for the blocks.
function openChunk(path) {
  const fd = fs.openSync(path, 'r');
  const { size } = fs.fstatSync(fd);
  const endBytes = readAt(fd, size - 40, 40)?.readUInt32LE(0) ?? 0;
  const header =
    readHeader(fd, 0, readAt(fd, 0, 64)?.readUInt32LE(12)) ??
    readHeader(fd, size - endBytes, endBytes);
  if (header) {
    const stripes = Math.ceil(header.contentBytes / header.stripeBytes);
    const last = stripeOf(header, Math.max(0, stripes - 1));
    const table = readAt(fd, last.at + last.blockBytes, 32 * stripes);
    if (table && sha256(table).equals(header.root)) return { ...header, fd, path, table, stripes };
  }
  warn(`${path}: it is no chunk file, or its header or table is bad`);
  fs.closeSync(fd);
  return undefined;
}

// The chunk files of the one set that can be restored.
function openSet(paths) {
  const chunks = paths.map(openChunk).filter((chunk) => chunk);
  const sets = [...new Set(chunks.map(({ setId }) => setId))].map((id) => {
    const set = chunks.filter(({ setId }) => setId === id).sort((a, b) => a.index - b.index);
    return { set, count: new Set(set.map(({ index }) => index)).size };
  });
  const whole = sets.filter(({ set, count }) => count >= set[0].k);
  if (whole.length > 1) fail('chunk files of several files are mixed; name those of one');
  const most = Math.max(0, ...sets.map(({ count }) => count));
  const { set } = whole[0] ?? fail(`have ${most}, need ${chunks[0]?.k ?? 'more'}`);
  for (const { path } of chunks.filter((c) => !set.includes(c))) warn(`${path}: of another file`);
  return set;
}

// Content of a stripe, from k blocks whose checksums are right.
function readStripe(chunks, rows, stripe) {
  const { at, stripeContent, blockBytes } = stripeOf(chunks[0], stripe);
  const good = new Map();
  for (const { k, fd, path, index, table } of chunks) {
    if (good.size === k || good.has(index)) continue;
    const block = readAt(fd, at, blockBytes);
    const checksum = table.subarray(32 * stripe, 32 * stripe + 32);
    if (block && sha256(block).equals(checksum)) good.set(index, block);
    else warn(`${path}: stripe ${stripe} is bad`);
  }
  const { k } = chunks[0];
  if (good.size < k) fail(`have ${good.size}, need ${k} of stripe ${stripe}`);
  const decode = inverse([...good.keys()].map((index) => rows[index]));
  const pieces = decode.map((row, i) => good.get(i) ?? mixed(row, [...good.values()]));
  return Buffer.concat(pieces).subarray(0, stripeContent);
}

function mixed(row, blocks) {
  const piece = Buffer.alloc(blocks[0].length);
  for (const [j, block] of blocks.entries()) {
    const product = Uint8Array.from({ length: 256 }, (_, a) => times(a, row[j]));
    for (let p = 0; p < piece.length; p++) piece[p] ^= product[block[p]];
  }
  return piece;
}

// Sealed files: the file's key follows from the key file and the envelope.
function openSeal(envelope, keyPath) {
  const text = fs.readFileSync(keyPath ?? fail('the file is sealed: give --key'), 'utf8');
  const key = Buffer.from(text.trim().split(/\s+/)[1] ?? '', 'hex');
  const check = keyed(key, Buffer.from('holdfast/share-key-check/1')).subarray(0, 8);
  if (!check.equals(envelope.subarray(8, 16))) fail('the key does not fit');
  const [size, fileId] = [envelope.subarray(16, 24), envelope.subarray(24, 56)];
  const fileKey = keyed(key, Buffer.from('holdfast/share-seal/1'), size, fileId);
  const count = Math.max(1, Math.ceil(Number(size.readBigUInt64LE()) / 65536));
  const u32 = (...values) =>
    Buffer.concat(values.map((v) => Buffer.of(v >>> 24, v >> 16, v >> 8, v)));
  return {
    openSegment(sealed, index) {
      const nonce = u32(0, index, index === count - 1 ? 1 : 0);
      const decipher = createDecipheriv('aes-256-gcm', fileKey, nonce, { authTagLength: 16 });
      decipher.setAAD(u32(1, count)).setAuthTag(sealed.subarray(-16));
      return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
    },
    isOf: (digest) => keyed(key, Buffer.from('holdfast/share-file/1'), size, digest).equals(fileId),
  };
}

function restore(out, paths, keyPath) {
  if (fs.existsSync(out)) fail(`${out} exists`);
  const chunks = openSet(paths);
  const { k, n, stripes, digest, envelope } = chunks[0];
  const seal = envelope.length > 0 ? openSeal(envelope, keyPath) : undefined;
  const rows = codeRows(n, k);
  const hash = createHash('sha256');
  const part = `${out}.${process.pid}.part`;
  const file = fs.openSync(part, 'wx');
  try {
    for (let stripe = 0, segment = 0; stripe < stripes; stripe++) {
      const content = readStripe(chunks, rows, stripe);
      const step = seal ? 65552 : content.length;
      for (let at = 0; at < content.length; at += step) {
        const some = content.subarray(at, at + step);
        const bytes = seal ? seal.openSegment(some, segment++) : some;
        hash.update(bytes);
        for (let done = 0; done < bytes.length;) done += fs.writeSync(file, bytes, done);
      }
    }
    const found = hash.digest();
    const isRight = seal ? seal.isOf(found) : found.equals(digest);
    if (!isRight) fail('what was restored is not the file that was cut');
    fs.fsyncSync(file);
    fs.renameSync(part, out);
  } finally {
    fs.closeSync(file);
    fs.rmSync(part, { force: true });
  }
}

try {
  const args = process.argv.slice(2);
  const keyAt = args.indexOf('--key');
  const [, keyPath] = keyAt < 0 ? [] : args.splice(keyAt, 2);
  if (args.length < 2) fail('usage: node restore.mjs OUT CHUNK-FILE... [--key KEY-FILE]');
  restore(args[0], args.slice(1), keyPath);
} catch (error) {
  console.error(`restore: ${error.message}`);
  process.exitCode = 1;
}
