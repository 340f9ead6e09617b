/**
 * Aim: share files are gnetraid's in both directions, and any k of them restore the file. Method:
 * files that the original made, a decoder written here from the format's description alone, all
 * subsets of small schemes at sizes around every border.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import golden from '../../test/vectors/shares/golden.json' with { type: 'json' };
import { addShares, combineShares, splitFile, verifyShares } from './index.ts';
import type { Protection } from './split.ts';

let folder: string;
const shareKey = bytesOf('key', 32);
const plain: Protection = { shareKey: undefined, random: { bytes: counting() } };
const sealed: Protection = { shareKey };

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-shares-'));
});

afterEach(async () => {
  await fs.rm(folder, { recursive: true });
});

/** Bytes that look random and are the same every time. */
function bytesOf(seed: string, count: number): Uint8Array {
  const parts = Array.from({ length: Math.ceil(count / 32) }, (_, index) =>
    createHash('sha256').update(`${seed}/${index}`).digest(),
  );
  return new Uint8Array(Buffer.concat(parts).subarray(0, count));
}

function counting(): (count: number) => Uint8Array {
  let calls = 0;
  return (count) => bytesOf(`random ${calls++}`, count);
}

async function write(name: string, content: Uint8Array | string): Promise<string> {
  const file = path.join(folder, name);
  await fs.writeFile(file, content);
  return file;
}

async function split(
  file: string,
  [k, n]: readonly [number, number],
  more: Partial<Parameters<typeof splitFile>[0]> = {},
): Promise<readonly string[]> {
  const scheme = { k, n, width: 1 as const };
  const base = { file, scheme, protection: sealed, folders: [folder] };
  return (await splitFile({ ...base, ...more })).paths;
}

let outputs = 0;

async function combined(paths: readonly string[]): Promise<Buffer> {
  const output = path.join(folder, `output-${outputs++}`);
  await combineShares({ paths, output, shareKey: async () => shareKey });
  return await fs.readFile(output);
}

function* subsets<Item>(items: readonly Item[], size: number): Generator<Item[]> {
  if (size === 0) yield [];
  for (const [index, item] of items.entries()) {
    for (const rest of subsets(items.slice(index + 1), size - 1)) yield [item, ...rest];
  }
}

describe('the format of the original', () => {
  it.each(golden.files)('$shares.0: our shares are its shares, byte for byte', async (vector) => {
    const file = await write('f', vector.text);
    const paths = await split(file, [golden.k, golden.n], {
      protection: { ...plain, points: golden.key } as Protection,
    });
    expect(paths.map((name) => path.basename(name))).toEqual([
      'f-0.sf',
      'f-1.sf',
      'f-2.sf',
      'f-3.sf',
    ]);
    const shares = await Promise.all(paths.map((name) => fs.readFile(name, 'hex')));
    expect(shares).toEqual(vector.shares);
  });

  it.each(golden.files)('$shares.0: any three of its shares restore the file', async (vector) => {
    const hex = [...vector.shares, ...(vector.extra ? [vector.extra.share] : [])];
    const paths = await Promise.all(
      hex.map((text, index) => write(`g-${index}.sf`, Buffer.from(text, 'hex'))),
    );
    for (const chosen of subsets(paths, golden.k)) {
      expect((await combined(chosen)).toString()).toBe(vector.text);
    }
  });

  it('is what a decoder says that knows only the description', async () => {
    for (const width of [1, 2, 4] as const) {
      for (const size of [0, 1, 11, 24, 1000, 20_003]) {
        const content = bytesOf(`d${size}`, size);
        const file = await write(`d${width}-${size}`, content);
        const scheme = { k: 3, n: 5, width };
        const paths = await split(file, [3, 5], { scheme, protection: plain });
        const shares = await Promise.all(paths.slice(1, 4).map((name) => fs.readFile(name)));
        expect(decodeByDescription(shares)).toEqual(Buffer.from(content));
        expect(Buffer.from(content).equals(await combined(paths.slice(2)))).toBe(true);
      }
    }
  });

  it('reads offsets that are wider than they need to be', async () => {
    const wide = golden.files[0]!.shares.map((hex) =>
      hex.replace('5346010c030100010c', '5346010c03010200000800000000000000' + '0c'),
    );
    const paths = await Promise.all(
      wide.map((hex, index) => write(`w-${index}.sf`, Buffer.from(hex, 'hex'))),
    );
    expect((await combined(paths.slice(1))).toString()).toBe('hello world\n');
  });
});

/** From "Share file format" of the docs, in BigInt, sharing nothing with what is tested. */
function decodeByDescription(shares: readonly Buffer[]): Buffer {
  const polynomials = { 1: 0x11bn, 2: 0x1002bn, 4: 0x10000008dn };
  const parsed = shares.map((share) => {
    expect(share.subarray(0, 3).toString('hex')).toBe('534601');
    expect(share[3]).toBe(0b1100);
    const [k, width] = [share[4]!, share[5]! as 1 | 2 | 4];
    let at = 6;
    const offset = () => {
      const length = share[at]!;
      const value = length === 0 ? 0 : share.readUIntBE(at + 1, length);
      at += 1 + length;
      return value;
    };
    const [start, next] = [offset(), offset()];
    expect(start).toBe(0);
    const unit = () => {
      at += width;
      return BigInt(share.readUIntBE(at - width, width));
    };
    const row = Array.from({ length: k }, unit);
    const units: bigint[] = [];
    while (at < share.length) units.push(unit());
    return { k, width, next, row, units };
  });
  const { k, width, next } = parsed[0]!;
  const bits = BigInt(width * 8);
  const multiply = (a: bigint, b: bigint) => {
    let [product, x] = [0n, a];
    for (let y = b; y > 0n; y >>= 1n) {
      if (y & 1n) product ^= x;
      x <<= 1n;
      if (x >> bits) x ^= polynomials[width];
    }
    return product;
  };
  const inverse = (a: bigint) => {
    let [result, square] = [1n, a];
    for (let bit = 1n; bit < bits; bit++) {
      square = multiply(square, square);
      result = multiply(result, square);
    }
    expect(multiply(result, a)).toBe(1n);
    return result;
  };
  // Gauss and Jordan on the rows with all columns of content beside them.
  const rows = parsed.map(({ row, units }) => [...row, ...units]);
  for (let column = 0; column < k; column++) {
    const pivot = rows.findIndex((row, index) => index >= column && row[column] !== 0n);
    [rows[column], rows[pivot]] = [rows[pivot]!, rows[column]!];
    const factor = inverse(rows[column]![column]!);
    rows[column] = rows[column]!.map((value) => multiply(value, factor));
    for (let other = 0; other < k; other++) {
      const scale = rows[other]![column]!;
      if (other === column || scale === 0n) continue;
      rows[other] = rows[other]!.map((v, i) => v ^ multiply(scale, rows[column]![i]!));
    }
  }
  const columns = rows[0]!.length - k;
  const stream = Buffer.alloc(columns * k * width);
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < k; row++) {
      stream.writeUIntBE(Number(rows[row]![k + column]), (column * k + row) * width, width);
    }
  }
  return stream.subarray(0, next);
}

describe('any k of n restore', () => {
  const border = 65_536;
  const small = [
    [1, 2],
    [2, 3],
    [3, 4],
  ] as const;
  const sizes = [0, 1, 2, 3, 4, border - 1, border, border + 1, 3 * border + 1];
  it.each(['plain', 'sealed'])('%s, at sizes around every border', async (kind) => {
    const protection = kind === 'plain' ? plain : sealed;
    for (const size of sizes) {
      const content = bytesOf(`c${size}`, size);
      const file = await write(`c${size}`, content);
      for (const [k, n] of size < 5 ? small : small.slice(-1)) {
        const namePattern = `%f-${k}-%s.sf`;
        const paths = await split(file, [k, n], { protection, namePattern });
        // All subsets where files are small; the same code runs where they are not.
        for (const chosen of size < 5 ? subsets(paths, k) : [paths.slice(-k)]) {
          expect(Buffer.from(content).equals(await combined(chosen))).toBe(true);
        }
      }
    }
  });

  it('over several strips, with many shares', async () => {
    const content = bytesOf('long', 5_000_001);
    const file = await write('long', content);
    const cases = [
      [plain, 3, 4],
      [sealed, 10, 14],
      [sealed, 40, 60],
      [plain, 100, 140],
    ] as const;
    for (const [protection, k, n] of cases) {
      const paths = await split(file, [k, n], { protection, namePattern: `${k}-%s.sf` });
      expect(Buffer.from(content).equals(await combined(paths.slice(-k)))).toBe(true);
    }
  });

  it('hides every line of a text, sealed or not', async () => {
    const line = 'The quick brown fox jumps over the lazy dog.';
    const file = await write('text', `${line}\n`.repeat(1000));
    for (const [name, protection] of [
      ['p', plain],
      ['s', sealed],
    ] as const) {
      const paths = await split(file, [3, 4], { protection, namePattern: `${name}-%s.sf` });
      for (const share of paths) {
        expect((await fs.readFile(share, 'latin1')).includes(line.slice(0, 8))).toBe(false);
      }
    }
  });
});

describe('more shares later', () => {
  it('a sealed share made again is the same, from shares and from the file', async () => {
    const file = await write('again', bytesOf('again', 300_000));
    const paths = [...(await split(file, [3, 5]))];
    const lost = await fs.readFile(paths[1]!);
    for (const original of [undefined, file]) {
      await fs.rm(paths[1]!);
      const made = await addShares({
        paths: [paths[0]!, paths[3]!, paths[4]!],
        file: original,
        shareNumbers: [1],
        random: { bytes: counting() },
        shareKey: async () => shareKey,
      });
      expect(made.paths).toEqual([paths[1]]);
      expect((await fs.readFile(paths[1]!)).equals(lost)).toBe(true);
    }
    // And splitting again makes all of them again.
    const again = await split(file, [3, 5], { namePattern: 'b-%s.sf' });
    expect(await fs.readFile(again[4]!)).toEqual(await fs.readFile(paths[4]!));
  });

  it.each(['plain', 'sealed'])('%s: any k of old and new restore', async (kind) => {
    const content = bytesOf('more', 100_001);
    const file = await write('more', content);
    const paths = await split(file, [3, 4], { protection: kind === 'plain' ? plain : sealed });
    const options = { random: { bytes: counting() }, shareKey: async () => shareKey };
    const one = await addShares({ ...options, paths: paths.slice(1), count: 2 });
    expect(one.paths.map((name) => path.basename(name))).toEqual(['more-4.sf', 'more-5.sf']);
    const two = await addShares({ ...options, paths: [...paths, ...one.paths], file });
    expect(two.paths.map((name) => path.basename(name))).toEqual(['more-6.sf']);
    for (const chosen of subsets([...paths, ...one.paths, ...two.paths], 3)) {
      expect(Buffer.from(content).equals(await combined(chosen))).toBe(true);
    }
    const all = await verifyShares([...paths, ...one.paths, ...two.paths], options);
    expect(all).toMatchObject({ isRestorable: true, bad: [], chunks: [{ goodCount: 7 }] });
  });

  it.each(['plain', 'sealed'])('%s: from the file and one share', async (kind) => {
    const content = bytesOf('one', 70_000);
    const file = await write('one', content);
    const paths = await split(file, [3, 4], { protection: kind === 'plain' ? plain : sealed });
    const { paths: made } = await addShares({
      paths: paths.slice(3),
      file,
      count: 2,
      random: { bytes: counting() },
      shareKey: async () => shareKey,
    });
    const restored = await combined([paths[3]!, ...made]);
    expect(Buffer.from(content).equals(restored)).toBe(true);
  });

  it('refuses a file that is not the one', async () => {
    for (const [name, protection] of [
      ['p', plain],
      ['s', sealed],
    ] as const) {
      const file = await write(name, bytesOf('one', 1000));
      const paths = await split(file, [2, 3], { protection });
      const other = await write('other', bytesOf('other', 1000));
      const options = {
        paths,
        file: other,
        random: { bytes: counting() },
        shareKey: async () => shareKey,
      };
      await expect(addShares(options)).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
    }
  });
});

describe('long files', () => {
  it('are digested by threads', async () => {
    const content = Buffer.alloc(34 * 2 ** 20 + 5, bytesOf('long', 4099));
    const file = await write('long', content);
    const paths = await split(file, [2, 3]);
    expect(content.equals(await combined(paths.slice(1)))).toBe(true);
    const share = await fs.readFile(paths[1]!);
    share[10_000_000]! ^= 1;
    await fs.writeFile(paths[1]!, share);
    const { bad } = await verifyShares(paths, { shareKey: async () => shareKey });
    expect(bad.map((one) => one.path)).toEqual([paths[1]]);
  });

  it('leave nothing behind when they are given up, or when the last name is taken', async () => {
    const file = await write('long', bytesOf('long', 3_000_000));
    await fs.writeFile(path.join(folder, 'taken-2-3.sf'), '');
    const before = await fs.readdir(folder);
    for (const protection of [plain, sealed]) {
      const stop = new AbortController();
      const options = { protection, signal: stop.signal, progress: () => stop.abort() };
      await expect(split(file, [3, 4], options)).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
      const named = { protection, namePattern: 'taken-%c-%s.sf', chunking: { chunkCount: 3 } };
      await expect(split(file, [3, 4], named)).rejects.toMatchObject({ code: 'HF_EXISTS' });
    }
    expect(await fs.readdir(folder)).toEqual(before);
  });
});

describe('chunks', () => {
  it.each(['plain', 'sealed'])('%s: combine in any order', async (kind) => {
    const content = bytesOf('chunks', 1_000_000);
    const file = await write('chunks', content);
    const protection = kind === 'plain' ? plain : sealed;
    const paths = await split(file, [3, 4], { protection, chunking: { chunkCount: 3 } });
    expect(paths.length).toBe(12);
    expect(path.basename(paths[11]!)).toBe('chunks-2-3.sf');
    const kept = paths.filter((_, index) => index % 4 !== 1);
    expect(Buffer.from(content).equals(await combined(kept.toReversed()))).toBe(true);
    const output = path.join(folder, 'none');
    const few = combineShares({ paths: kept.slice(3), output, shareKey: async () => shareKey });
    await expect(few).rejects.toMatchObject({ code: 'HF_TOO_FEW_SHARDS' });
    await expect(fs.stat(output)).rejects.toThrow('ENOENT');
  });
});
