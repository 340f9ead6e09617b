/**
 * Aim: no name is shown as another one would be, and none says more to a terminal than itself.
 * Method: names are shown and read again as a shell would.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { modeText, shownName } from './output.ts';

/** As bash reads $'…'. */
function readBack(shown: string): Buffer {
  if (!shown.startsWith("$'")) return Buffer.from(shown);
  const escaped = shown.slice(2, -1);
  const parts = escaped.match(/\\x[0-9a-f]{2}|\\['\\]|[^\\']/gu) ?? [];
  expect(parts.join(''), 'nothing else is in it').toBe(escaped);
  return Buffer.concat(
    parts.map((part) => {
      if (part.startsWith('\\x')) return Buffer.from(part.slice(2), 'hex');
      return Buffer.from(part.replace(/^\\/, ''));
    }),
  );
}

it.each([
  ['plain', 'plain'],
  ["it's", "it's"],
  ['back\\slash', 'back\\slash'],
  ['ä 名', 'ä 名'],
  ['line\nfeed', "$'line\\x0afeed'"],
  ["it's\t\\", "$'it\\'s\\x09\\\\'"],
  ['\u0085', "$'\\xc2\\x85'"],
  ['a\udcff', "$'a\\xff'"],
  ["$'a'", "$'$\\'a\\''"],
])('%j is shown as %s', (name, shown) => {
  expect(shownName(name)).toBe(shown);
});

it('every name is shown so that it can be read', () => {
  const byte = fc.integer({ min: 0xdc80, max: 0xdcff }).map((code) => String.fromCharCode(code));
  const part = fc.oneof(fc.string({ unit: 'binary' }), byte, fc.constantFrom("$'", '\\x41', '\n'));
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      const name = parts.join('');
      const bytes = Array.from(name, (each) =>
        each.isWellFormed() ? Buffer.from(each) : Buffer.of(each.charCodeAt(0) & 0xff),
      );
      expect(readBack(shownName(name)).equals(Buffer.concat(bytes))).toBe(true);
      expect(shownName(name)).not.toMatch(/\p{Cc}/u);
    }),
  );
});

it('modes are shown as ls has them', () => {
  expect(modeText({ type: 'directory', mode: 0o1755 })).toBe('drwxr-xr-t');
  expect(modeText({ type: 'file', mode: 0o6640 })).toBe('-rwSr-S---');
});
