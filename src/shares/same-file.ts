/** Whether a plain share, which carries no digest, is one of a file: it is made anew. */
import { bytesEqual } from '../base/index.ts';
import { InputFile, type Reporting } from './files.ts';
import { dealOut, IdaCoder } from './ida-coder.ts';
import { runStrips } from './pipeline.ts';
import type { ShareField } from './share-field.ts';
import type { Share } from './share-set.ts';
import { ShareSource } from './share-source.ts';
import { stripBytesOf } from './split.ts';

export async function isShareOf(
  file: InputFile,
  { share, field }: { readonly share: Share; readonly field: ShareField },
  reporting: Reporting,
): Promise<boolean> {
  const { k, width, start, next, row } = share.header;
  await using input = await InputFile.open(share.path);
  const stripBytes = stripBytesOf(k, undefined);
  const laneBytes = stripBytes / k;
  const source = new ShareSource(file, undefined, stripBytes);
  const coder = new IdaCoder(field, { count: k + 1, bytes: laneBytes });
  const pieces = coder.lanes.slice(0, k);
  const made = coder.lanes[k]!;
  const given = [new Uint8Array(laneBytes), new Uint8Array(laneBytes)];
  const range = (strip: number) => {
    const offset = start + strip * stripBytes;
    return { offset, bytes: Math.min(stripBytes, next - offset) };
  };
  const lengthOf = (strip: number) => Math.ceil(range(strip).bytes / (k * width)) * width;
  let isSame = true;
  await runStrips(
    Math.ceil((next - start) / stripBytes),
    {
      async read(strip, bank) {
        await source.load(range(strip), bank);
        const lane = given[bank]!.subarray(0, lengthOf(strip));
        await input.read(lane, share.headerBytes + strip * laneBytes);
      },
      work(strip, bank) {
        const bytes = lengthOf(strip);
        dealOut(source.take(range(strip), bank), pieces, width);
        coder.transform({ rows: [row], sources: pieces, targets: [made], bytes });
        isSame &&= bytesEqual(made.subarray(0, bytes), given[bank]!.subarray(0, bytes));
      },
      write: async () => {},
    },
    reporting,
  );
  return isSame;
}
