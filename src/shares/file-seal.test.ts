/**
 * Aim: a sealed file opens with its key and nothing else, equal files become equal bytes, and each
 * flipped or moved byte is noticed. Method: an opener written here with node:crypto alone.
 */
import { createDecipheriv, createHash, createHmac } from 'node:crypto';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { FileSeal, readKeyFile, sealedBytes, writeKeyFile } from './index.ts';

const key = new Uint8Array(32).fill(1);
const SEGMENT = 65_536;

function sealOf(plain: Uint8Array, shareKey = key): { seal: FileSeal; stream: Buffer } {
  const digest = createHash('sha256').update(plain).digest();
  const seal = FileSeal.forPlain({ key: shareKey, size: plain.length, digest });
  const stream = Buffer.alloc(seal.sealedBytes);
  for (let index = 0; index < seal.segmentCount; index++) {
    const segment = plain.subarray(index * SEGMENT, (index + 1) * SEGMENT);
    seal.sealSegment(index, segment, stream.subarray(index * (SEGMENT + 16)));
  }
  return { seal, stream };
}

/** From docs/formats/share-file.md. */
function openByDescription(envelope: Buffer, stream: Buffer): Buffer {
  const size = envelope.readBigUInt64LE(16);
  const fileKey = createHmac('sha256', key)
    .update('holdfast/share-seal/1')
    .update(envelope.subarray(16, 24))
    .update(envelope.subarray(24, 56))
    .digest();
  const count = Math.max(1, Math.ceil(Number(size) / SEGMENT));
  const parts = Array.from({ length: count }, (_, index) => {
    const sealed = stream.subarray(index * (SEGMENT + 16), (index + 1) * (SEGMENT + 16));
    const nonce = Buffer.alloc(12);
    nonce.writeBigUInt64BE(BigInt(index));
    nonce.writeUInt32BE(index === count - 1 ? 1 : 0, 8);
    const aad = Buffer.alloc(8);
    aad.writeUInt32BE(1);
    aad.writeUInt32BE(count, 4);
    const opener = createDecipheriv('aes-256-gcm', fileKey, nonce).setAAD(aad);
    opener.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([opener.update(sealed.subarray(0, -16)), opener.final()]);
  });
  return Buffer.concat(parts);
}

describe('a sealed file', () => {
  it.each([0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT])('of %i bytes', (size) => {
    const plain = Buffer.alloc(size, 'holdfast');
    const { seal, stream } = sealOf(plain);
    expect(stream.length).toBe(sealedBytes(size));
    expect(openByDescription(Buffer.from(seal.envelope), stream).equals(plain)).toBe(true);
    const opened = FileSeal.fromEnvelope({ key, envelope: seal.envelope });
    expect(opened.plainBytes).toBe(size);
    const again = sealOf(Buffer.from(plain));
    expect(again.stream.equals(stream)).toBe(true);
    expect(again.seal.envelope).toEqual(seal.envelope);
  });

  it('differs under another key, and for other content', () => {
    const plain = Buffer.alloc(100, 1);
    const { seal, stream } = sealOf(plain);
    const others = [sealOf(plain, new Uint8Array(32).fill(2)), sealOf(Buffer.alloc(100, 2))];
    for (const other of others) {
      expect(other.seal.fileId).not.toEqual(seal.fileId);
      expect(other.stream.equals(stream)).toBe(false);
    }
  });

  it('says of an envelope whether it is damaged or of another key', () => {
    const { envelope } = sealOf(Buffer.alloc(10)).seal;
    for (let at = 0; at < envelope.length; at++) {
      const damaged = Uint8Array.from(envelope);
      damaged[at]! ^= 1;
      expect(() => FileSeal.fromEnvelope({ key, envelope: damaged })).toThrow(
        expect.objectContaining({ code: 'HF_CORRUPT' }),
      );
    }
    expect(() => FileSeal.fromEnvelope({ key: new Uint8Array(32), envelope })).toThrow(
      expect.objectContaining({ code: 'HF_WRONG_KEY' }),
    );
  });

  it('opens no segment that was altered or moved', () => {
    const { seal, stream } = sealOf(Buffer.alloc(2 * SEGMENT, 3));
    const first = stream.subarray(0, SEGMENT + 16);
    const corrupt = expect.objectContaining({ code: 'HF_CORRUPT' });
    expect(() => seal.openSegment(1, first)).toThrow(corrupt);
    expect(() => seal.openSegment(0, first.subarray(1))).toThrow(corrupt);
    for (const at of [0, 1000, SEGMENT, SEGMENT + 15]) {
      const damaged = Buffer.from(first);
      damaged[at]! ^= 1;
      expect(() => seal.openSegment(0, damaged)).toThrow(corrupt);
    }
  });
});

describe('a key file', () => {
  it('is one line, for its owner only, and is not overwritten', async () => {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-key-'));
    try {
      const file = path.join(folder, 'share-key');
      await writeKeyFile(file, key);
      expect((await fs.stat(file)).mode & 0o777).toBe(0o600);
      const text = await fs.readFile(file, 'utf8');
      expect(text).toMatch(/^holdfast-share-key-1 (01){32} [0-9a-f]{8}\n$/);
      expect(await readKeyFile(file)).toEqual(key);
      await expect(writeKeyFile(file, key)).rejects.toMatchObject({ code: 'HF_EXISTS' });
      await fs.writeFile(file, text.replace('0101', '0111'));
      await expect(readKeyFile(file)).rejects.toMatchObject({ code: 'HF_CORRUPT' });
      await fs.writeFile(file, 'something else');
      await expect(readKeyFile(file)).rejects.toMatchObject({ code: 'HF_WRONG_KEY' });
      const none = readKeyFile(path.join(folder, 'none'));
      await expect(none).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
    } finally {
      await fs.rm(folder, { recursive: true });
    }
  });
});
