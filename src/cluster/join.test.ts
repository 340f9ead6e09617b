/**
 * Aim: an invitation admits one node, once, with what it says and nothing more, whatever is lost or
 * tried on the way. Method: whole networks in memory on a virtual clock; a registry that loses
 * answers; requests and records that were tampered with.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  addressOf,
  AdmissionBed,
  founderKeyring,
  HOUR_MS,
  nodeIdOfNumber,
  SECRET,
  seedOf,
  VOLUME,
} from '../../test/suites/admission-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, errorMessage } from '../base/index.ts';
import {
  ALL_ROLES,
  BoxKey,
  decodeInvitation,
  decodeKeyring,
  encodeInvitation,
  encodeKeyring,
  invitationKey,
  issueCertificate,
  type Keyring,
  NodeKey,
  ownCertificate,
  readCertificate,
  ROLES,
  SigningKey,
} from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import { MemoryRegistry } from '../log/index.ts';
import { type Network, parseAddress } from '../net/index.ts';
import { encodeJoinAnswer, encodeJoinRequest } from './join-messages.ts';
import { removeNode } from './removal.ts';
import { openCluster } from './open-cluster.ts';

const CALL = { deadlineMs: 10_000 };
const STRANGE_CALL = { ...CALL, toStranger: true };

let env: Env;
let bed: AdmissionBed;

beforeEach(() => {
  env = virtualEnv(7);
  bed = new AdmissionBed(env);
});

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function refusal(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'done',
    (error: unknown) => `${errorCode(error)}: ${errorMessage(error)}`,
  );
}

async function talk(from: Network, to: number): Promise<unknown> {
  await from.connect(parseAddress(addressOf(to)));
  return await from.call(nodeIdOfNumber(to), 'secret', null, CALL);
}

/** A request as it travels, sent from an open network. */
async function ask(network: Network, inviter: number, request: unknown): Promise<unknown> {
  await network.connect(parseAddress(addressOf(inviter)));
  return await network.call(nodeIdOfNumber(inviter), 'cluster.join', request, STRANGE_CALL);
}

async function removeFrom(keyring: Keyring, number: number): Promise<void> {
  const { registry } = bed;
  const node = nodeIdOfNumber(1);
  const cluster = await openCluster({ env, registry, node, tolerance: 2 });
  const [members, grants] = [bed.members(keyring), bed.grants(keyring)];
  const endSession = async (): Promise<void> => {};
  const options = { env, registry, cluster, members, grants, endSession };
  await removeNode(options, nodeIdOfNumber(number));
}

describe('a node that was invited', () => {
  it('becomes a member, with the keys of its roles and no others', async () => {
    const { keyring: admin } = await bed.found(1);
    const stranger = await bed.open(2);
    expect(await refusal(talk(stranger.network, 1))).toMatch(/^HF_DENIED/);
    const joined = await bed.join(2, stranger.network, await bed.invite(admin, 1));
    const { clusterId, clusterPublicKey, clusterSecret, metadataKey } = admin;
    expect(joined.keyring).toEqual({
      clusterId,
      clusterPublicKey,
      clusterSecret,
      metadataKey,
      clusterKey: undefined,
      nodeSeed: seedOf(2),
      certificate: joined.keyring.certificate,
      volumes: new Map(),
    });
    expect(joined.members).toEqual([{ node: nodeIdOfNumber(1), addresses: [addressOf(1)] }]);
    expect(ownCertificate(joined.keyring)).toMatchObject({
      nodeId: nodeIdOfNumber(2),
      roles: ROLES.store | ROLES.metadata,
      serial: 1,
    });
    // What it keeps on disk is sound.
    expect(decodeKeyring(encodeKeyring(joined.keyring))).toEqual(joined.keyring);
    const records = await bed.members(admin).list();
    expect(records.map(({ name, labels }) => ({ name, labels }))).toContainEqual({
      name: 'node-2',
      labels: { rack: 'r1' },
    });
    // Without starting again.
    stranger.admission.join(joined.keyring);
    expect(await talk(stranger.network, 1)).toBe('for members');
  });

  it('gets the metadata key and the cluster key only if its roles say so', async () => {
    const { keyring: admin } = await bed.found(1);
    const store = await bed.add(2, await bed.invite(admin, 1, { roles: ROLES.store }));
    expect(store.keyring).toMatchObject({ metadataKey: undefined, clusterKey: undefined });
    const other = await bed.add(3, await bed.invite(admin, 1, { roles: ALL_ROLES }));
    const { metadataKey, clusterKey } = admin;
    expect(other.keyring).toMatchObject({ metadataKey, clusterKey });
    // The new admin node admits others.
    const fourth = await bed.add(4, await bed.invite(other.keyring, 3));
    expect(await talk(fourth.network, 1)).toBe('for members');
    expect((await bed.members(admin).list()).length).toBe(4);
  });

  it('is granted the volumes while it is one of the first three', async () => {
    const { keyring: admin } = await bed.found(1);
    const nodes = [];
    for (const number of [2, 3, 4]) nodes.push(await bed.add(number, await bed.invite(admin, 1)));
    const holders = await bed.grants(admin).holders(VOLUME);
    expect(new Set(holders)).toEqual(new Set([1, 2, 3].map(nodeIdOfNumber)));
    for (const [index, { keyring }] of nodes.entries()) {
      const number = index + 2;
      const boxKey = BoxKey.ofNode(seedOf(number));
      const secrets = await bed.grants(keyring).collect(nodeIdOfNumber(number), boxKey);
      expect(secrets).toEqual(number === 4 ? new Map() : new Map([[VOLUME, SECRET]]));
    }
  });

  it('can be invited by a member that is no admin node, which passes its request on', async () => {
    const { keyring: admin } = await bed.found(1);
    const middle = await bed.add(2, await bed.invite(admin, 1));
    await middle.network.connect(parseAddress(addressOf(1)));
    const token = await bed.invite(admin, 2);
    const third = await bed.add(3, token);
    expect(await talk(third.network, 1)).toBe('for members');
    // Nobody but the inviter passes a request on.
    const invitation = decodeInvitation(await bed.invite(admin, 1));
    const request = encodeJoinRequest(invitation, seedOf(4), { name: 'n', labels: {} });
    const call = third.network.call(nodeIdOfNumber(1), 'cluster.join-passed-on', request, CALL);
    expect(await refusal(call)).toMatch(/^HF_DENIED/);
  });

  it('is told when no admin node can be reached, and may ask again', async () => {
    const { keyring: admin, network } = await bed.found(1);
    const middle = await bed.add(2, await bed.invite(admin, 1));
    const token = await bed.invite(admin, 2);
    const stranger = await bed.open(3);
    await network[Symbol.asyncDispose]();
    expect(await refusal(bed.join(3, stranger.network, token))).toMatch(
      /^HF_UNAVAILABLE: no admin/,
    );
    await bed.open(1, admin);
    await middle.network.connect(parseAddress(addressOf(1)));
    expect((await bed.join(3, stranger.network, token)).keyring.clusterId).toBe(admin.clusterId);
  });
});

describe('an invitation', () => {
  it('admits one of two that come at once', async () => {
    const { keyring: admin } = await bed.found(1);
    const token = await bed.invite(admin, 1);
    const nodes = [2, 3, 4].map(async (number) => await bed.open(number));
    const [a, b, c] = await Promise.all(nodes);
    const results = await Promise.allSettled([
      bed.join(2, a!.network, token),
      bed.join(3, b!.network, token),
      bed.join(4, c!.network, token),
    ]);
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1);
    for (const result of results) {
      if (result.status === 'rejected')
        expect(errorMessage(result.reason)).toMatch(/has been used/);
    }
    expect((await bed.members(admin).list()).length).toBe(2);
  });

  it('admits nobody twice, nor when it has expired, was cancelled or is unknown', async () => {
    const { keyring: admin } = await bed.found(1);
    const used = await bed.invite(admin, 1);
    await bed.add(2, used);
    const expired = await bed.invite(admin, 1, { lifeMs: 1000 });
    const cancelled = await bed.invite(admin, 1);
    await bed.invitations(admin).cancel(invitationKey(decodeInvitation(cancelled)).publicKey);
    await env.clock.sleep(1000);
    const unknown = encodeInvitation({ ...decodeInvitation(used), secret: seedOf(99) });
    const { network } = await bed.open(3);
    expect(await refusal(bed.join(3, network, used))).toMatch(/^HF_DENIED: .*has been used/);
    expect(await refusal(bed.join(3, network, expired))).toMatch(/^HF_DENIED: .*has expired/);
    for (const token of [cancelled, unknown]) {
      const answer = await refusal(bed.join(3, network, token));
      expect(answer).toBe('HF_DENIED: the invitation is not valid here');
    }
    expect((await bed.members(admin).list()).length).toBe(2);
  });

  it('gives the same node the same certificate again, as after a lost answer', async () => {
    const { keyring: admin } = await bed.found(1);
    const token = await bed.invite(admin, 1);
    const { network } = await bed.open(2);
    const first = await bed.join(2, network, token);
    await env.clock.sleep(5000);
    const second = await bed.join(2, network, token);
    expect(second.keyring).toEqual(first.keyring);
    const twice = await Promise.all([1, 2].map(() => bed.join(2, network, token)));
    for (const { keyring } of twice) expect(keyring).toEqual(first.keyring);
  });

  it('survives a crash between its use and the answer, at each step', async () => {
    const { keyring: admin } = await bed.found(1);
    for (let stepsLeft = 0, number = 2; ; stepsLeft++, number++) {
      const token = await bed.invite(admin, 1);
      const { registry } = bed;
      let left = stepsLeft;
      let didCrash = false;
      const original = registry.compareAndSet.bind(registry);
      // Each second time the change was made before the crash.
      registry.compareAndSet = async (key, expected, value) => {
        if (didCrash) throw new Error('crashed');
        if (left-- > 0) return await original(key, expected, value);
        didCrash = true;
        if (number % 2 === 0) await original(key, expected, value);
        throw new Error('crashed');
      };
      const { network } = await bed.open(number);
      const answer = await refusal(bed.join(number, network, token));
      registry.compareAndSet = original;
      if (!didCrash) {
        expect(answer).toBe('done');
        expect(stepsLeft).toBeGreaterThan(1);
        break;
      }
      const { keyring } = await bed.join(number, network, token);
      const record = await bed.members(admin).get(nodeIdOfNumber(number));
      expect(record?.certificateBytes).toEqual(keyring.certificate);
      // It is used up all the same.
      const thief = await bed.open(100 + number);
      expect(await refusal(bed.join(100 + number, thief.network, token))).toMatch(/been used/);
    }
  });

  it('comes through a registry that loses messages', async () => {
    const faults = { lostRequestPercent: 15, lostReplyPercent: 15 };
    const registry = new MemoryRegistry({ env, faults });
    await using lossy = new AdmissionBed(env, registry);
    const retried = async <Result>(work: () => Promise<Result>): Promise<Result> => {
      for (;;) {
        try {
          return await work();
        } catch (error) {
          expect(['HF_TIMEOUT', 'HF_UNAVAILABLE']).toContain(errorCode(error));
        }
      }
    };
    const admin = founderKeyring(1);
    Object.assign(faults, { lostRequestPercent: 0, lostReplyPercent: 0 });
    await lossy.found(1);
    Object.assign(faults, { lostRequestPercent: 15, lostReplyPercent: 15 });
    for (const number of [2, 3, 4, 5]) {
      const token = await retried(() => lossy.invite(admin, 1));
      const { network } = await lossy.open(number);
      await retried(() => lossy.join(number, network, token));
      const other = await lossy.open(number + 100);
      let answer = '';
      while (!/used/.test(answer)) {
        answer = await refusal(lossy.join(number + 100, other.network, token));
        expect(answer).toMatch(/used|HF_TIMEOUT|HF_UNAVAILABLE/);
      }
    }
    Object.assign(faults, { lostRequestPercent: 0, lostReplyPercent: 0 });
    expect((await lossy.members(admin).list()).length).toBe(5);
  });

  it('cannot be made or raised by who writes the registry', async () => {
    const { keyring: admin } = await bed.found(1);
    const token = await bed.invite(admin, 1, { roles: ROLES.store });
    const { registry } = bed;
    const [record] = await registry.list('invitation/');
    const { network } = await bed.open(2);
    // Version, roles, expiry, each bit of them and of what vouches for them.
    for (let bit = 0; bit < record!.value.length * 8; bit += 3) {
      const value = record!.value.map((byte, i) =>
        i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte,
      );
      const { version } = (await registry.get(record!.key))!;
      await registry.compareAndSet(record!.key, version, value);
      const { inviter, secret, clusterId } = decodeInvitation(token);
      expect(await bed.invitations(admin).list(), `bit ${bit}`).toEqual([]);
      if (bit % 240 !== 0) continue;
      await env.clock.sleep(200);
      const request = encodeJoinRequest({ inviter, secret, clusterId }, seedOf(2), {
        name: 'n',
        labels: {},
      });
      expect(await refusal(ask(network, 1, request))).toMatch(/^HF_(DENIED|UNAVAILABLE)/);
    }
    expect((await bed.members(admin).list()).length).toBe(1);
  });

  it('does not stand for another, whose record somebody has put in its place', async () => {
    const { keyring: admin } = await bed.found(1);
    const { registry } = bed;
    const token = await bed.invite(admin, 1, { roles: ROLES.store });
    const [own] = await registry.list('invitation/');
    await bed.invite(admin, 1, { roles: ALL_ROLES });
    const other = (await registry.list('invitation/')).find(({ key }) => key !== own!.key);
    await registry.compareAndSet(own!.key, own!.version, other!.value);
    const { network } = await bed.open(2);
    expect(await refusal(bed.join(2, network, token))).toMatch(/^HF_DENIED/);
    expect((await bed.members(admin).list()).length).toBe(1);
  });

  it('must be fresh, short-lived and one of few', async () => {
    const { keyring: admin } = await bed.found(1);
    const codes = await Promise.all([
      refusal(bed.invite(admin, 1, { lifeMs: 0 })),
      refusal(bed.invite(admin, 1, { lifeMs: 31 * 24 * HOUR_MS })),
      refusal(bed.invite(admin, 1, { roles: 0 })),
      refusal(bed.invite(admin, 1, { roles: 64 })),
    ]);
    for (const code of codes) expect(code).toMatch(/^HF_BAD_ARGUMENT/);
    for (let count = 0; count < 64; count++) await bed.invite(admin, 1, { lifeMs: 1000 });
    expect(await refusal(bed.invite(admin, 1))).toMatch(/^HF_TOO_LARGE/);
    await env.clock.sleep(1000);
    expect(await refusal(bed.invite(admin, 1))).toBe('done');
    expect((await bed.registry.list('invitation/')).length).toBe(1);
  });
});

describe('a request to join', () => {
  const wishes = { name: 'node-9', labels: { rack: 'r1' } };

  it('is refused when any byte of it is another', async () => {
    const { keyring: admin } = await bed.found(1);
    const invitation = decodeInvitation(await bed.invite(admin, 1));
    const request = encodeJoinRequest(invitation, seedOf(9), wishes);
    const { network } = await bed.open(9);
    for (let at = 0; at < request.length; at += 7) {
      const altered = request.map((byte, i) => (i === at ? byte ^ 1 : byte));
      const answer = await refusal(ask(network, 1, altered));
      expect(answer, `byte ${at}`).toMatch(/^HF_(DENIED|UNSUPPORTED|CORRUPT|BAD_ARGUMENT)/);
      await env.clock.sleep(200); // strangers may ask ten times a second
    }
    expect((await bed.members(admin).list()).length).toBe(1);
    expect(await refusal(ask(network, 1, request))).toBe('done');
  });

  it('cannot be sent by another node, to another inviter, or for another cluster', async () => {
    const { keyring: admin } = await bed.found(1);
    await bed.add(2, await bed.invite(admin, 1));
    const invitation = decodeInvitation(await bed.invite(admin, 1));
    const request = encodeJoinRequest(invitation, seedOf(9), wishes);
    const [nine, ten] = [await bed.open(9), await bed.open(10)];
    const otherCluster = { ...invitation, clusterId: '00'.repeat(16) as Keyring['clusterId'] };
    const answers = await Promise.all([
      refusal(ask(ten.network, 1, request)),
      refusal(ask(nine.network, 2, request)),
      refusal(ask(nine.network, 1, encodeJoinRequest(otherCluster, seedOf(9), wishes))),
      refusal(
        ask(
          nine.network,
          1,
          encodeJoinRequest({ ...invitation, secret: seedOf(1) }, seedOf(9), wishes),
        ),
      ),
    ]);
    expect(answers).toEqual(Array(4).fill('HF_DENIED: the invitation is not valid here'));
  });

  it('is no way back for a node that was removed', async () => {
    const { keyring: admin } = await bed.found(1);
    const token = await bed.invite(admin, 1);
    const { network } = await bed.open(2);
    await bed.join(2, network, token);
    await removeFrom(admin, 2);
    expect(await refusal(bed.join(2, network, token))).toMatch(/^HF_DENIED: .*been removed/);
    expect((await bed.members(admin).list()).length).toBe(1);
    expect(await bed.registry.list(`member/${nodeIdOfNumber(2)}`)).toEqual([]);
    // A new invitation is.
    const { keyring } = await bed.join(2, network, await bed.invite(admin, 1));
    expect(ownCertificate(keyring).serial).toBe(3);
    expect((await bed.members(admin).list()).length).toBe(2);
  });

  it('is bounded: garbage and oversized ones are refused', async () => {
    await bed.found(1);
    const { network } = await bed.open(9);
    const garbage = [
      null,
      'text',
      {},
      new Uint8Array(0),
      new Uint8Array(100),
      new Uint8Array(9000),
    ];
    for (const each of garbage) {
      expect(await refusal(ask(network, 1, each))).toMatch(/^HF_/);
    }
    await env.clock.sleep(2000);
    const calls = Array.from({ length: 50 }, () => refusal(ask(network, 1, garbage[4])));
    const answers = await Promise.all(calls);
    expect(answers.filter((text) => text.startsWith('HF_UNAVAILABLE')).length).toBeGreaterThan(20);
  });

  it('has a name and labels that are plain words', () => {
    const invitation = decodeInvitation(
      encodeInvitation({
        clusterId: '11'.repeat(16) as Keyring['clusterId'],
        clusterKeyId: '22'.repeat(16),
        inviter: nodeIdOfNumber(1),
        secret: seedOf(3),
        expiresAtMs: 0,
        addresses: [addressOf(1)],
      }),
    );
    const bad = [
      { name: '', labels: {} },
      { name: 'a'.repeat(64), labels: {} },
      { name: '\u001b[2J', labels: {} },
      { name: 'a', labels: { 'Rack 1': 'r' } },
      { name: 'a', labels: { rack: '' } },
      { name: 'a', labels: { rack: 'x'.repeat(10_000) } },
      {
        name: 'a',
        labels: Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`l${i}`, 'v'])),
      },
    ];
    for (const each of bad) {
      expect(() => encodeJoinRequest(invitation, seedOf(9), each)).toThrow();
    }
  });
});

describe('who answers', () => {
  it('must be the inviter', async () => {
    const { keyring: admin } = await bed.found(1);
    const invitation = decodeInvitation(await bed.invite(admin, 1));
    await bed.open(5);
    const addresses = [addressOf(5)] as const;
    const { network } = await bed.open(2);
    const elsewhere = encodeInvitation({ ...invitation, addresses });
    expect(await refusal(bed.join(2, network, elsewhere))).toMatch(/^HF_DENIED: the inviter/);
    const nowhere = encodeInvitation({
      ...invitation,
      addresses: ['memory://nobody:1', 'tls://x:1'],
    });
    expect(await refusal(bed.join(2, network, nowhere))).toMatch(/^HF_UNAVAILABLE: the inviter/);
    const second = encodeInvitation({
      ...invitation,
      addresses: ['memory://nobody:1', addressOf(1)],
    });
    expect(await refusal(bed.join(2, network, second))).toBe('done');
  });

  it('cannot hand out another cluster, other keys or what it was not asked for', async () => {
    const { keyring: admin } = await bed.found(1);
    // A hostile inviter with a cluster of its own, to which the token was altered to lead.
    await using other = new AdmissionBed(env);
    const { network: server } = await other.open(7);
    const invitation = decodeInvitation(await bed.invite(admin, 1));
    let answer: Uint8Array = new Uint8Array(0);
    server.handle('cluster.join', { forStrangers: true }, () => answer);
    const { network } = await other.open(2);
    const token = encodeInvitation({
      ...invitation,
      inviter: nodeIdOfNumber(7),
      addresses: [addressOf(7)],
    });
    const genuine = decodeInvitation(await bed.invite(admin, 1));
    const request = encodeJoinRequest(genuine, seedOf(2), wishesOf(2));
    const asker = await bed.open(2);
    const honest = (await ask(asker.network, 1, request)) as Uint8Array;
    answer = honest;
    expect(await refusal(other.join(2, network, token))).toBe('done');
    for (let at = 0; at < honest.length; at += 5) {
      answer = honest.map((byte, i) => (i === at ? byte ^ 1 : byte));
      const refused = await refusal(other.join(2, network, token));
      expect(refused, `byte ${at}`).toMatch(/^HF_(FORGED|UNSUPPORTED)/);
      await env.clock.sleep(200);
    }
    // An answer that is sound, of a cluster that has but the id of the right one.
    answer = answerOf(founderKeyring(7, 0xd1), 2, admin.clusterId);
    expect(await refusal(other.join(2, network, token))).toMatch(/^HF_FORGED/);
    // One for another node, signed by the right cluster.
    answer = answerOf(admin, 4, admin.clusterId);
    expect(await refusal(other.join(2, network, token))).toMatch(/^HF_FORGED/);
    const three = await other.open(3);
    answer = honest;
    expect(await refusal(other.join(3, three.network, token))).toMatch(/^HF_FORGED/);
    answer = new Uint8Array(70_000);
    expect(await refusal(other.join(3, three.network, token))).toMatch(/^HF_TOO_LARGE/);
  });
});

/** What a holder of the cluster key can make for node `number`. */
function answerOf(keyring: Keyring, number: number, clusterId: Keyring['clusterId']): Uint8Array {
  const clusterKey = new SigningKey(keyring.clusterKey!);
  const { clusterPublicKey, clusterSecret } = keyring;
  const certificateBytes = issueCertificate(clusterKey, {
    clusterId,
    publicKey: new NodeKey(seedOf(number)).publicKey,
    boxKey: BoxKey.ofNode(seedOf(2)).publicKey, // node 2 can open it, whoever it is for
    roles: ROLES.store,
    serial: 1,
    issuedAtMs: 0,
    notAfterMs: 0,
  });
  const certificate = readCertificate(certificateBytes, { clusterId, clusterPublicKey });
  const answer = { clusterPublicKey, certificate, certificateBytes, members: [] };
  return encodeJoinAnswer(clusterKey, { ...answer, keys: { clusterSecret } }, seedOf(8));
}

function wishesOf(number: number) {
  return { name: `node-${number}`, labels: {} };
}
