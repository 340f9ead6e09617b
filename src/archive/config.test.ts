/** Aim: B1, a configuration is understood wholly or refused with its line. Method: YAML texts. */
import { describe, expect, it } from 'vitest';
import { dumpConfig, parseConfig } from './config.ts';

const GOOD = `schemes:
  photos:
    description: Photographs
    master_stores:
      main: { path: /srv/photos }
      spare: { drive: My Disk, path: photos }
    share_stores:
      - { drive: A, path: shares }
      - { drive: B }
      - { path: /srv/shares }
    nshares: 3
    quorum: 2
`;

function fault(text: string): string {
  try {
    parseConfig(text, 'a.yaml');
    return 'none';
  } catch (error) {
    return (error as Error).message;
  }
}

describe('a configuration', () => {
  it('has the defaults of Media-RAID', () => {
    const [scheme] = parseConfig(GOOD, 'a.yaml').schemes;
    expect(scheme).toMatchObject({
      name: 'photos',
      quorum: 2,
      width: 1,
      scansOthers: true,
      isSealed: true,
      replicas: 1,
      workingDir: undefined,
    });
    expect(scheme!.masterStores.get('spare')).toEqual({
      kind: 'drive',
      label: 'My Disk',
      path: 'photos',
    });
    expect(parseConfig(GOOD, 'a.yaml').mountRoot).toBe('/media');
  });

  it('is dumped as a text that means the same', () => {
    const extra = '    working_dir: /tmp/w\n    scan_others: 0\n    sealed: false\n    width: 2\n';
    for (const text of [GOOD, GOOD + extra, `mount_root: /mnt\n${GOOD}`]) {
      const config = parseConfig(text, 'a.yaml');
      const dumped = dumpConfig(config);
      expect(parseConfig(dumped, 'b.yaml')).toEqual(config);
      expect(dumpConfig(parseConfig(dumped, 'b.yaml'))).toBe(dumped);
    }
  });

  it.each([
    ['3 stores, nshares 4', ['nshares: 3', 'nshares: 4'], 'a.yaml:11: nshares is 4, but there'],
    ['quorum above nshares', ['quorum: 2', 'quorum: 4'], 'a.yaml:12: quorum is 4, more than'],
    ['an unknown key', ['quorum: 2', 'quorum: 2\n    quorun: 2'], 'a.yaml:13: there is no key'],
    ['an unknown key of a store', ['{ drive: B }', '{ drvie: B }'], 'a.yaml:9: there is no key'],
    ['a missing key', ['    quorum: 2\n', ''], 'a.yaml:2: the key "quorum" is missing'],
    ['a width of 3', ['quorum: 2', 'quorum: 2\n    width: 3'], 'a.yaml:13: width is 1, 2 or 4'],
    ['a relative path', ['/srv/photos', 'srv/photos'], 'a.yaml:5: "srv/photos" is no absolute'],
    ['a way out of a drive', ['path: photos', 'path: ../x'], 'a.yaml:6: the path of drive'],
    ['a store within another', ['/srv/shares', '/srv/photos/s'], 'a.yaml: stores must lie apart'],
    ['the same key twice', ['quorum: 2', 'quorum: 2\n    quorum: 2'], 'a.yaml: Map keys must be'],
    ['a master named as a share', ['spare:', 'share-1:'], 'a.yaml:6: a master store cannot be'],
    ['no text', [GOOD, ''], 'a.yaml: an archive configuration must have keys'],
    ['a flag that is none', ['quorum: 2', 'quorum: 2\n    sealed: maybe'], 'a.yaml:13: this is 1'],
  ])('refuses %s', (_, [from, to], message) => {
    expect(fault(GOOD.replace(from!, to!))).toContain(message);
  });

  it('has more shares than units of one byte give: width 2 is asked for', () => {
    const many = Array.from({ length: 255 }, (_, index) => `      - { path: /s/${index} }`);
    const stores = /    share_stores:\n(?: {6}.*\n)+/;
    const text = GOOD.replace(stores, `    share_stores:\n${many.join('\n')}\n`)
      .replace('nshares: 3', 'nshares: 255')
      .replace('quorum: 2', 'quorum: 2\n    width: 1');
    expect(() => parseConfig(text, 'a.yaml')).toThrow(/a\.yaml:\d+: .* needs width 2/);
    expect(parseConfig(text.replace('width: 1', 'width: 2'), 'a.yaml').schemes.length).toBe(1);
  });
});
