/**
 * Aim: an etcd of the user is reached as it wants to be, by TLS and certificates, keeps its
 * contract under a prefix, and one that will not do is refused with the reason.
 * Method: a real etcd with client certificates from openssl, its users and roles; the suite of all
 * engines. Skipped, and said so, where there is no etcd or no openssl.
 */
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { faultyDial, findEtcd, type WireFaults } from '../../../test/suites/etcd-bed.ts';
import { type LogMedium, testFencedLog } from '../../../test/suites/fenced-log.ts';
import { MemoryMirror } from '../../../test/suites/memory-mirror.ts';
import { type Identity, UserEtcd } from '../../../test/suites/user-etcd.ts';
import { errorCode, errorMessage } from '../../base/index.ts';
import { realEnv } from '../../env/index.ts';
import { EtcdConnection, EtcdLog, EtcdRegistry, PrefixedKv } from '../../log/index.ts';
import { dialsOf, type NamedEtcd, namedEtcd, type NamedEtcdWish } from './named-etcd.ts';
import {
  assertClaimed,
  assertReached,
  claimNamed,
  lookAtNamed,
  namedWarnings,
} from './named-look.ts';

const binary = findEtcd();
if (!binary) console.warn('SKIPPED: an etcd of the user; install etcd-server (3.4–3.6)');
const env = realEnv();
const { clock } = env;
const PEM = '-----BEGIN CERTIFICATE-----\n';
const SLOW_MS = 30_000;

function problemOf(wish: NamedEtcdWish): string | undefined {
  try {
    return void namedEtcd(wish);
  } catch (error) {
    return `${errorCode(error)} ${errorMessage(error)}`;
  }
}

async function outcomeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'done',
    (error: unknown) => `${errorCode(error)} ${errorMessage(error)}`,
  );
}

describe('an etcd that is named', () => {
  it('is named by its addresses, a prefix and certificates', () => {
    const wish = { endpoints: ['https://a:2379', 'https://b'], authority: PEM };
    expect(namedEtcd(wish)).toEqual({ ...wish, prefix: 'holdfast/' });
    for (const endpoint of ['ftp://a', 'a:2379', 'http://a/v3', 'http://u@a', 'http://a?b', '']) {
      expect([endpoint, problemOf({ endpoints: [endpoint] })]).toEqual([
        endpoint,
        expect.stringContaining('HF_BAD_ARGUMENT'),
      ]);
    }
    expect(problemOf({ endpoints: [] })).toContain('HF_BAD_ARGUMENT');
    expect(problemOf({ endpoints: ['https://a'], prefix: 'no-slash' })).toContain('prefix');
    expect(problemOf({ endpoints: ['https://a'], authority: 'a word' })).toContain('HF_BAD');
    expect(problemOf({ endpoints: ['https://a'], certificate: PEM })).toContain('--key');
    expect(problemOf({ endpoints: ['http://127.0.0.1'], authority: PEM })).toContain('https');
  });

  it('is spoken to in the clear on this machine only, unless that is allowed', () => {
    for (const host of ['127.0.0.1', '[::1]', 'localhost']) {
      expect(problemOf({ endpoints: [`http://${host}:2379`] })).toBeUndefined();
    }
    for (const host of ['10.0.0.1', 'a', '127.0.0.1.example.org']) {
      const endpoints = [`http://${host}`];
      expect(problemOf({ endpoints })).toContain('--allow-plain-http');
      expect(problemOf({ endpoints, isPlainAllowed: true })).toBeUndefined();
    }
  });

  it('is unreachable where nobody listens, and where nobody answers', async () => {
    const away = namedEtcd({ endpoints: ['http://127.0.0.1:1'] });
    expect(await outcomeOf(claimNamed(away, { clusterId: 'a', clock }))).toContain(
      'HF_UNAVAILABLE etcd http://127.0.0.1:1',
    );
    const mute = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => mute.once('listening', resolve));
    const { port } = mute.address() as net.AddressInfo;
    const named = namedEtcd({ endpoints: [`http://127.0.0.1:${port}`] });
    const [member] = await lookAtNamed(named, clock);
    expect(member).toMatchObject({ status: undefined, reason: expect.stringMatching(/answer/) });
    mute.close();
  });

  it('is told of when it is ill, and when it fills up', () => {
    const status = {
      id: '1',
      leader: '1',
      version: '3.6.1',
      dbBytes: 1,
      dbBytesInUse: 1,
      raftIndex: 1,
      raftAppliedIndex: 1,
      raftTerm: 1,
      isLearner: false,
      errors: [],
    };
    const endpoint = 'https://a';
    const well = { endpoint, status, reason: undefined };
    expect(namedWarnings([well])).toEqual([]);
    const [full] = namedWarnings([{ ...well, reason: 'memberID:1 alarm:NOSPACE ' }]);
    expect(full).toContain('until it has room');
    const large = { ...status, dbBytes: 1.6 * 2 ** 30 };
    expect(namedWarnings([{ ...well, status: large }]).join()).toContain('usual quota of 2 GiB');
    const wide = { ...large, quotaBytes: 8 * 2 ** 30 };
    expect(namedWarnings([{ ...well, status: wide }])).toEqual([]);
  });
});

describe.skipIf(!binary)('an etcd of the user in the clear', { timeout: SLOW_MS }, () => {
  it('has keys of one cluster under a prefix, and says when it has no room', async () => {
    await using etcd = (await UserEtcd.open(binary!, { flags: { '--quota-backend-bytes': '1' } }))!;
    const named = namedEtcd({ endpoints: [etcd.endpoint], prefix: 'a/' });
    // The first change is one too many for such a quota, and raises the alarm.
    expect(await outcomeOf(claimNamed(named, { clusterId: 'a', clock }))).toContain('HF_NO_SPACE');
    const again = await outcomeOf(claimNamed(named, { clusterId: 'a', clock }));
    expect(again).toMatch(/HF_NO_SPACE.*alarm:NOSPACE.*takes no changes/);
  });

  it('refuses keys of others under the same prefix, and an etcd beside it', async () => {
    await using etcd = (await UserEtcd.open(binary!))!;
    await using other = (await UserEtcd.open(binary!))!;
    const named = namedEtcd({ endpoints: [etcd.endpoint], prefix: 'a/' });
    const claim = { clusterId: 'a'.repeat(32), clock };
    expect(await outcomeOf(assertClaimed(named, claim))).toContain('HF_NOT_FOUND');
    for (let i = 0; i < 2; i++) expect(await outcomeOf(claimNamed(named, claim))).toBe('done');
    expect(await outcomeOf(assertClaimed(named, claim))).toBe('done');
    const second = await outcomeOf(claimNamed(named, { ...claim, clusterId: 'b' }));
    expect(second).toMatch(/HF_EXISTS.*cluster aaaa.*begin with a\//);
    const beside = { ...named, prefix: 'b/' };
    expect(await outcomeOf(claimNamed(beside, { ...claim, clusterId: 'b' }))).toBe('done');
    const [key, value] = ['c/somebody', 'x'].map((text) => Buffer.from(text).toString('base64'));
    await etcd.ask('kv/put', { key, value });
    const strange = await outcomeOf(claimNamed({ ...named, prefix: 'c/' }, claim));
    expect(strange).toMatch(/HF_EXISTS.*somebody else/);
    const two = { ...named, endpoints: [etcd.endpoint, other.endpoint] };
    expect(await outcomeOf(claimNamed(two, claim))).toContain('is of another etcd');
  });
});

let secure: UserEtcd | undefined;
let client: Identity;
let trusted: NamedEtcd;
let mediumCount = 0;

function secureMedium(): LogMedium {
  const parts = new MemoryMirror();
  const prefix = `holdfast/test-${mediumCount++}/`;
  const metadataKey = new Uint8Array(32).fill(1);
  const faults: WireFaults = { losesRequest: () => false, losesReply: () => false };
  const place = () => {
    const members = dialsOf(trusted).map((dial) => faultyDial(dial, faults));
    const connection = new EtcdConnection({ members, clock, deadlineMs: 200 });
    const kv = new PrefixedKv(connection, trusted.prefix);
    return { kv, prefix, metadataKey, generation: 1, env, parts, patienceMs: 400 };
  };
  return {
    open: async () => new EtcdLog(place()),
    openRegistry: async () => new EtcdRegistry(place()),
    setFault(fault) {
      const random = () => fault === 'random' && env.random.below(100) < 1;
      faults.losesRequest = () => fault === 'lost before' || random();
      faults.losesReply = () => fault === 'lost after' || random();
    },
  };
}

describe.skipIf(!binary)('an etcd of the user over TLS', { timeout: SLOW_MS }, () => {
  beforeAll(async () => {
    secure = await UserEtcd.open(binary!, { isTls: true });
    if (!secure) return console.warn('SKIPPED: an etcd over TLS; install openssl');
    client = await secure.authority!.issue('holdfast');
    const authority = await secure.authority!.certificate();
    const { endpoint } = secure;
    const { certificate, key } = client;
    const about = { endpoints: [endpoint], prefix: 'team/', authority };
    trusted = namedEtcd({ ...about, certificate, key });
    await vi.waitFor(async () => await assertReached(trusted, clock), SLOW_MS);
  }, SLOW_MS);
  afterAll(async () => await secure?.[Symbol.asyncDispose](), SLOW_MS);

  it('takes who has a certificate, and is taken for what its authority vouches', async () => {
    if (!secure) return;
    expect(await lookAtNamed(trusted, clock)).toMatchObject([{ reason: undefined }]);
    const { authority: _, ...unknown } = trusted;
    const reasons = [unknown, { ...trusted, certificate: undefined, key: undefined }].map(
      async (named) => (await lookAtNamed(named, clock))[0]?.reason,
    );
    const [wrongAuthority, noCertificate] = await Promise.all(reasons);
    expect(wrongAuthority).toContain('--ca');
    expect(noCertificate).toMatch(/certificate|closed|alert/i);
  });

  it('lets its users do what their roles allow: ours needs the prefix alone', async () => {
    if (!secure) return;
    await using etcd = (await UserEtcd.open(binary!, { isTls: true }))!;
    const authority = await etcd.authority!.certificate();
    const [own, root] = [
      await etcd.authority!.issue('holdfast'),
      await etcd.authority!.issue('root'),
    ];
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    for (const name of ['root', 'holdfast']) {
      await etcd.ask('auth/user/add', { name, options: { no_password: true } }, root);
    }
    await etcd.ask('auth/role/add', { name: 'ours' }, root);
    const perm = { permType: 'READWRITE', key: base64('team/'), range_end: base64('team0') };
    await etcd.ask('auth/role/grant', { name: 'ours', perm }, root);
    await etcd.ask('auth/user/grant', { user: 'holdfast', role: 'ours' }, root);
    await etcd.ask('auth/user/grant', { user: 'root', role: 'root' }, root);
    await etcd.ask('auth/enable', {}, root);
    const about = { endpoints: [etcd.endpoint], authority, certificate: own.certificate };
    const named = namedEtcd({ ...about, key: own.key, prefix: 'team/' });
    const claim = { clusterId: 'a', clock };
    await vi.waitFor(async () => await claimNamed(named, claim), SLOW_MS);
    const elsewhere = await outcomeOf(claimNamed({ ...named, prefix: 'other/' }, claim));
    expect(elsewhere).toMatch(/HF_UNAVAILABLE.*permission denied/);
    const stranger = await etcd.authority!.issue('stranger');
    const { certificate, key } = stranger;
    const denied = await outcomeOf(claimNamed({ ...named, certificate, key }, claim));
    expect(denied).toMatch(/HF_UNAVAILABLE/);
  });

  testFencedLog('etcd over TLS', secureMedium, 1);
});
