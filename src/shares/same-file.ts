/** Whether a plain share, which carries no digest, is one of a file: it is made anew. */
import { bytesEqual } from '../base/index.ts';
import { InputFile, type Reporting } from './files.ts';
import { dealOut, IdaCoder } from './ida-coder.ts';
import { runStrips, Strips } from './pipeline.ts';
import type { ShareField } from './share-field.ts';
import type { Share } from './share-set.ts';
import { ShareSource } from './share-source.ts';
import { stripBytesOf } from './split.ts';

export async function isShareOf(
  file: InputFile,
  { share, field }: { readonly share: Share; readonly field: ShareField },
  reporting: Reporting,
): Promise<boolean> {
  const { k, width, row } = share.header;
  await using input = await InputFile.open(share.path);
  const strips = new Strips(share.header, { k, width, most: stripBytesOf(k, undefined) });
  const source = new ShareSource(file, undefined, strips.bytes);
  const coder = new IdaCoder(field, { count: k + 1, bytes: strips.laneBytes });
  const pieces = coder.lanes.slice(0, k);
  const made = coder.lanes[k]!;
  const given = [new Uint8Array(strips.laneBytes), new Uint8Array(strips.laneBytes)];
  let isSame = true;
  await runStrips(
    strips,
    {
      async read(strip, bank) {
        await source.load(strip, bank);
        const lane = given[bank]!.subarray(0, strip.laneBytes);
        await input.read(lane, share.headerBytes + strip.laneOffset);
      },
      work(strip, bank) {
        const { laneBytes: bytes } = strip;
        dealOut(source.take(strip, bank), pieces, width);
        coder.transform({ rows: [row], sources: pieces, targets: [made], bytes });
        isSame &&= bytesEqual(made.subarray(0, bytes), given[bank]!.subarray(0, bytes));
      },
      write: async () => {},
    },
    reporting,
  );
  return isSame;
}
