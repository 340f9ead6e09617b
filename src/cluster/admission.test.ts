/**
 * Aim: members talk, and nobody else learns anything; who is removed is cut off at once, for good,
 * and everywhere. Method: certificates of all kinds before the judge; whole networks in memory;
 * records that somebody else has put into the registry.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  addressOf,
  AdmissionBed,
  founderKeyring,
  nodeIdOfNumber,
  SECRET,
  seedOf,
  VOLUME,
} from '../../test/suites/admission-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { type DeviceId, errorCode, type NodeId, utf8, type VolumeId } from '../base/index.ts';
import {
  ALL_ROLES,
  BoxKey,
  type Certificate,
  issueCertificate,
  type Keyring,
  NodeKey,
  ROLES,
  SigningKey,
} from '../crypto/index.ts';
import { type Env, MetricsTable } from '../env/index.ts';
import { MemoryRegistry } from '../log/index.ts';
import { type Network, parseAddress } from '../net/index.ts';
import { CertificateAdmission } from './admission.ts';
import { openCluster } from './open-cluster.ts';
import { drainNode, leaveCluster, removeNode } from './removal.ts';
import {
  decodeRevocations,
  encodeRevocations,
  NO_REVOCATIONS,
  readRevocations,
  revoke,
} from './revocations.ts';

const CALL = { deadlineMs: 10_000 };
const WISHES = { name: 'node', labels: {} };
/** No node here has one. */
const endSession = async (): Promise<void> => {};

let env: Env;
let metrics: MetricsTable;
let bed: AdmissionBed;

beforeEach(() => {
  metrics = new MetricsTable();
  env = { ...virtualEnv(11), metrics };
  bed = new AdmissionBed(env);
});

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'done',
    (error: unknown) => errorCode(error) ?? String(error),
  );
}

/** A certificate of node `number`, made with the given key. */
function certify(number: number, changes: Partial<Certificate> = {}, keyring = founderKeyring(1)) {
  return issueCertificate(new SigningKey(keyring.clusterKey!), {
    clusterId: keyring.clusterId,
    publicKey: new NodeKey(seedOf(number)).publicKey,
    boxKey: BoxKey.ofNode(seedOf(number)).publicKey,
    roles: ROLES.store,
    serial: 1,
    issuedAtMs: 10,
    notAfterMs: 0,
    ...changes,
  });
}

async function talk(from: Network, to: number): Promise<unknown> {
  await from.connect(parseAddress(addressOf(to)));
  return await from.call(nodeIdOfNumber(to), 'secret', null, CALL);
}

async function clusterOf(number: number) {
  const { registry } = bed;
  return await openCluster({ env, registry, node: nodeIdOfNumber(number), tolerance: 1 });
}

async function remove(keyring: Keyring, number: number): Promise<void> {
  const { registry } = bed;
  const cluster = await clusterOf(1);
  const [members, grants] = [bed.members(keyring), bed.grants(keyring)];
  await removeNode({ env, registry, cluster, members, grants, endSession }, nodeIdOfNumber(number));
}

describe('a node is judged', () => {
  const identity = founderKeyring(1);
  const REFUSED = { refused: 'not admitted' };
  const judge = (credentials: Uint8Array, number = 2, admission = admissionOf()) =>
    admission.judge(nodeIdOfNumber(number), { credentials });
  const admissionOf = () => new CertificateAdmission({ env, identity });

  it('by its certificate: a member', () => {
    expect(judge(certify(2))).toBe('member');
    expect(judge(identity.certificate, 1)).toBe('member');
  });

  it('by showing none: a stranger', () => {
    expect(judge(new Uint8Array(0))).toBe('stranger');
  });

  it('by a false one: refused, and told the same whatever is wrong', () => {
    const other = founderKeyring(1, 0xd1);
    const false_ = [
      certify(3), // another node's
      certify(2, {}, other),
      certify(2, { clusterId: identity.clusterId }, other),
      certify(2, { clusterId: other.clusterId }),
      utf8('a certificate'),
      new Uint8Array(16_000),
      certify(2).subarray(1),
    ];
    for (const each of false_) expect(judge(each)).toEqual(REFUSED);
    const genuine = certify(2);
    for (let at = 0; at < genuine.length; at++) {
      const altered = genuine.map((byte, i) => (i === at ? byte ^ 0x10 : byte));
      expect(judge(altered), `byte ${at}`).toEqual(REFUSED);
    }
    expect(metrics.get('cluster_refused', { why: 'another node' })).toBe(1);
  });

  it('by the time: refused once its certificate has expired', async () => {
    const certificate = certify(2, { notAfterMs: 1000 });
    expect(judge(certificate)).toBe('member');
    await env.clock.sleep(1001);
    expect(judge(certificate)).toEqual(REFUSED);
  });

  it('by the revocations: serials up to the floor are void, later ones are good', () => {
    const admission = admissionOf();
    const floors = new Map([[nodeIdOfNumber(2), 4]]);
    expect(admission.learn({ version: 1, floors })).toBe(true);
    expect(admission.learn({ version: 1, floors })).toBe(false);
    expect(judge(certify(2, { serial: 4 }), 2, admission)).toEqual(REFUSED);
    expect(judge(certify(2, { serial: 5 }), 2, admission)).toBe('member');
    expect(judge(certify(3), 3, admission)).toBe('member');
    // What was revoked once stays so, whatever a later list says.
    expect(admission.learn({ version: 2, floors: new Map() })).toBe(false);
    expect(admission.learn({ version: 3, floors: new Map([[nodeIdOfNumber(2), 1]]) })).toBe(false);
    expect(judge(certify(2, { serial: 4 }), 2, admission)).toEqual(REFUSED);
    expect(metrics.get('cluster_revocations_lost')).toBe(2);
    const { revocations } = admission;
    const again = new CertificateAdmission({ env, identity, revocations });
    expect(judge(certify(2, { serial: 4 }), 2, again)).toEqual(REFUSED);
  });

  it('by a node that has joined nothing: everybody is a stranger', () => {
    const blank = new CertificateAdmission({ env });
    expect(blank.credentials()).toEqual(new Uint8Array(0));
    expect(judge(certify(2), 2, blank)).toBe('stranger');
  });
});

describe('on the network', () => {
  it('another cluster, a stranger and a stolen certificate get nowhere', async () => {
    const { keyring, network } = await bed.found(1);
    const other = await bed.open(2, { ...founderKeyring(2, 0xd1) });
    const stranger = await bed.open(3);
    const thief = await bed.open(4, { ...keyring, nodeSeed: seedOf(4) });
    for (const node of [other, stranger, thief]) {
      expect(await codeOf(talk(node.network, 1))).toBe('HF_DENIED');
    }
    // Nor do members tell them who they are when they dial.
    for (const number of [2, 3, 4]) expect(await codeOf(talk(network, number))).toBe('HF_DENIED');
    expect(network.members()).toEqual([]);
  });

  it('a removed member is cut off at once, and stays out', async () => {
    const { keyring, network, follower } = await bed.found(1);
    const two = await bed.add(2, await bed.invite(keyring, 1));
    const three = await bed.add(3, await bed.invite(keyring, 1));
    for (const from of [two, three]) await talk(from.network, 1);
    await talk(three.network, 2);
    await remove(keyring, 3);
    await follower!.tell();
    // Node 2 was told by node 1.
    expect(two.admission.revocations.floors.has(nodeIdOfNumber(3))).toBe(true);
    await env.clock.sleep(10);
    const nodes = [network, two.network].map((each) => each.links().map(({ node }) => node));
    for (const links of nodes) expect(links).not.toContain(nodeIdOfNumber(3));
    for (const to of [1, 2]) expect(await codeOf(talk(three.network, to))).toBe('HF_DENIED');
    expect(await talk(two.network, 1)).toBe('for members');
  });

  it('who is not told finds out by itself, and goes on without the registry', async () => {
    const { keyring, admission, follower, network } = await bed.found(1);
    const two = await bed.add(2, await bed.invite(keyring, 1));
    await talk(two.network, 1);
    const stop = new AbortController();
    const running = follower!.run({ signal: stop.signal });
    const { registry } = bed;
    const original = registry.get.bind(registry);
    let isAway = true;
    registry.get = async (key) => {
      if (isAway && key === 'revocations') throw Object.assign(new Error(), { code: 'HF_TIMEOUT' });
      return await original(key);
    };
    await env.clock.sleep(12_000);
    expect(network.links().length).toBe(1);
    isAway = false;
    await remove(keyring, 2);
    await env.clock.sleep(6000);
    expect(network.links()).toEqual([]);
    expect(admission.revocations.version).toBe(1);
    stop.abort();
    await running;
  });

  it('a look that began before a removal does not answer for one after it', async () => {
    const { keyring, follower, admission } = await bed.found(1);
    await bed.add(2, await bed.invite(keyring, 1));
    const { registry } = bed;
    const original = registry.get.bind(registry);
    const held = Promise.withResolvers<void>();
    let isFirst = true;
    registry.get = async (key) => {
      const value = await original(key);
      if (key === 'revocations' && isFirst) {
        isFirst = false;
        await held.promise;
      }
      return value;
    };
    const early = follower!.look();
    await env.clock.sleep(10);
    await revoke({ env, registry }, nodeIdOfNumber(2), 1);
    const late = follower!.look();
    held.resolve();
    await early;
    await late;
    expect(admission.revocations.version).toBe(1);
  });
});

describe('removing', () => {
  it('revokes, takes the devices out and the grants back, and can be repeated', async () => {
    const { keyring } = await bed.found(1);
    await bed.add(2, await bed.invite(keyring, 1));
    const device = {
      id: '22'.repeat(16) as DeviceId,
      weightBytes: 1000,
      state: 'in' as const,
      labels: ['node-2', 'disk-1'],
    };
    await (await clusterOf(2)).setDevices([device]);
    const { registry } = bed;
    const parts = { members: bed.members(keyring), grants: bed.grants(keyring) };
    const ended: NodeId[] = [];
    const endSession = async (id: NodeId): Promise<void> => void ended.push(id);
    const options = { env, registry, cluster: await clusterOf(1), endSession, ...parts };
    const node = nodeIdOfNumber(2);
    await drainNode(options, node);
    expect((await clusterOf(1)).topology().devices[0]?.state).toBe('draining');
    const original = registry.compareAndSet.bind(registry);
    for (let stepsLeft = 0; ; stepsLeft++) {
      let left = stepsLeft;
      registry.compareAndSet = async (key, expected, value) => {
        if (left-- > 0) return await original(key, expected, value);
        throw new Error('crashed');
      };
      const isDone = await removeNode(options, node).then(
        () => true,
        () => false,
      );
      registry.compareAndSet = original;
      if (isDone) break;
      expect(stepsLeft).toBeLessThan(20);
    }
    await removeNode(options, node);
    expect((await clusterOf(1)).topology().devices[0]?.state).toBe('out');
    expect(await parts.grants.holders(VOLUME)).toEqual([nodeIdOfNumber(1)]);
    expect((await registry.list(`member/${node}`)).length).toBe(0);
    expect((await readRevocations(registry)).floors).toEqual(new Map([[node, 2]]));
    expect(new Set(ended)).toEqual(new Set([node]));
  });

  it('refuses who was never there, and the last admin node', async () => {
    const { keyring } = await bed.found(1);
    expect(await codeOf(remove(keyring, 5))).toBe('HF_NOT_FOUND');
    expect(await codeOf(remove(keyring, 1))).toBe('HF_DENIED');
    await bed.add(2, await bed.invite(keyring, 1, { roles: ALL_ROLES }));
    expect(await codeOf(remove(keyring, 1))).toBe('done');
    expect(await codeOf(remove(keyring, 2))).toBe('HF_DENIED');
  });

  it('keeps every revocation of a race, and counts them', async () => {
    const faults = { delayMsMax: 3, lostReplyPercent: 10 };
    await using registry = new MemoryRegistry({ env, faults });
    const access = { env, registry };
    const nodes = Array.from({ length: 8 }, (_, i) => nodeIdOfNumber(i + 1));
    const revoking = nodes.map(async (node, i) => {
      while ((await codeOf(revoke(access, node, i + 1))) !== 'done');
    });
    await Promise.all(revoking);
    Object.assign(faults, { lostReplyPercent: 0 });
    const { version, floors } = await readRevocations(registry);
    expect(version).toBe(8);
    expect(floors).toEqual(new Map([...floors.keys()].map((n) => [n, nodes.indexOf(n) + 1])));
    await revoke(access, nodes[7]!, 3); // below its floor
    expect((await readRevocations(registry)).version).toBe(8);
  });

  it('has a list that is bounded and checked', async () => {
    const id = (number: number) => number.toString(16).padStart(32, '0') as NodeId;
    const floors = new Map(Array.from({ length: 10_000 }, (_, i) => [id(i), 1]));
    const bytes = encodeRevocations({ version: 3, floors });
    expect(decodeRevocations(bytes)).toEqual({ version: 3, floors });
    expect(bytes.length).toBeLessThan(512 * 1024);
    await bed.registry.compareAndSet('revocations', 0, bytes);
    const { registry } = bed;
    expect(await codeOf(revoke({ env, registry }, id(10_001), 1))).toBe('HF_TOO_LARGE');
    expect(await codeOf(revoke({ env, registry }, id(5), 2))).toBe('done');
    const more = encodeRevocations({ version: 3, floors: new Map(floors).set(id(10_001), 1) });
    for (const damaged of [more, bytes.subarray(0, 100), utf8('x'), new Uint8Array(0)]) {
      expect(() => decodeRevocations(damaged)).toThrow(/revocation list/);
    }
    expect(decodeRevocations(encodeRevocations(NO_REVOCATIONS))).toEqual(NO_REVOCATIONS);
  });
});

describe('leaving', () => {
  it('revokes last, and does not mind being cut off then', async () => {
    const { keyring } = await bed.found(1);
    const { registry } = bed;
    for (const number of [2, 3]) await bed.add(number, await bed.invite(keyring, 1));
    const cluster = await clusterOf(2);
    const [members, grants] = [bed.members(keyring), bed.grants(keyring)];
    const options = { env, registry, cluster, members, grants, endSession };
    const [one, two, three] = [1, 2, 3].map(nodeIdOfNumber) as [NodeId, NodeId, NodeId];
    expect(await codeOf(leaveCluster(options, one))).toBe('HF_DENIED'); // the last admin
    const original = registry.compareAndSet.bind(registry);
    registry.compareAndSet = async (key, expected, value) => {
      const floors = (await readRevocations(registry)).floors;
      if (floors.has(two)) throw Object.assign(new Error(), { code: 'HF_DENIED' });
      return await original(key, expected, value);
    };
    await leaveCluster(options, two);
    registry.compareAndSet = original;
    expect(await members.get(two)).toBeUndefined();
    expect(new Set(await grants.holders(VOLUME))).toEqual(new Set([one, three]));
    await leaveCluster(options, two);
    expect((await registry.list(`member/${two}`)).length).toBe(0);
    // One that serves a volume alone stays.
    await grants.revoke(VOLUME, one);
    expect(await grants.onlyHeldBy(three)).toEqual([VOLUME]);
    expect(await codeOf(leaveCluster(options, three))).toBe('HF_DENIED');
    expect(await codeOf(leaveCluster(options, nodeIdOfNumber(9)))).toBe('HF_NOT_FOUND');
  });
});

describe('records of the registry', () => {
  it('that the cluster did not sign make no member', async () => {
    const { keyring } = await bed.found(1);
    const members = bed.members(keyring);
    await members.put(certify(2), WISHES);
    const [two] = await bed.registry.list(`member/${nodeIdOfNumber(2)}`);
    const other = founderKeyring(1, 0xd1);
    expect(await codeOf(members.put(certify(3, {}, other), WISHES))).toBe('HF_FORGED');
    const forged: [number, Uint8Array][] = [
      [4, two!.value], // under the name of another
      [5, utf8('nonsense')],
      [6, new Uint8Array(100_000)],
    ];
    for (const [number, value] of forged) {
      await bed.registry.compareAndSet(`member/${nodeIdOfNumber(number)}`, 0, value);
      expect(await members.get(nodeIdOfNumber(number))).toBeUndefined();
      const grant = bed.grants(keyring).grant(VOLUME, nodeIdOfNumber(number), SECRET);
      expect(await codeOf(grant)).toBe('HF_NOT_FOUND');
    }
    expect((await members.list()).map(({ certificate }) => certificate.nodeId)).toEqual(
      [1, 2].map(nodeIdOfNumber),
    );
    expect(metrics.get('cluster_forged_records')).toBeGreaterThan(0);
  });

  it('keep the latest certificate of a node', async () => {
    const { keyring } = await bed.found(1);
    const members = bed.members(keyring);
    const [old, newer] = [certify(2), certify(2, { serial: 2 })];
    await members.put(newer, WISHES);
    expect((await members.put(old, WISHES)).certificateBytes).toEqual(newer);
    await members.forget(nodeIdOfNumber(2), 1);
    expect((await members.get(nodeIdOfNumber(2)))?.certificate.serial).toBe(2);
    const { registry } = bed;
    await revoke({ env, registry }, nodeIdOfNumber(2), 2);
    expect(await codeOf(members.put(newer, WISHES))).toBe('HF_DENIED');
    expect(await members.get(nodeIdOfNumber(2))).toBeUndefined();
    expect((await members.list()).length).toBe(1);
  });

  it('make no member of who is removed while it is written down', async () => {
    const { keyring } = await bed.found(1);
    const { registry } = bed;
    const original = registry.compareAndSet.bind(registry);
    registry.compareAndSet = async (key, expected, value) => {
      if (key.startsWith('member/')) {
        registry.compareAndSet = original;
        await revoke({ env, registry }, nodeIdOfNumber(2), 1);
      }
      return await original(key, expected, value);
    };
    expect(await codeOf(bed.members(keyring).put(certify(2), WISHES))).toBe('HF_DENIED');
  });

  it('grant a volume to one node, and take it back, but not from the last', async () => {
    const { keyring } = await bed.found(1);
    const members = bed.members(keyring);
    for (const number of [2, 3, 4, 5]) {
      await members.put(certify(number, { issuedAtMs: number }), WISHES);
    }
    const grants = bed.grants(keyring);
    await grants.grantDefaults(new Map([[VOLUME, SECRET]]));
    await grants.grant(VOLUME, nodeIdOfNumber(5), SECRET);
    const five = { boxKey: BoxKey.ofNode(seedOf(5)), node: nodeIdOfNumber(5) };
    expect(await grants.collect(five.node, five.boxKey)).toEqual(new Map([[VOLUME, SECRET]]));
    const newer = new Uint8Array(32).fill(0x78);
    await grants.grant(VOLUME, five.node, newer);
    await grants.grantDefaults(new Map([[VOLUME, SECRET]]));
    expect(await grants.collect(five.node, five.boxKey)).toEqual(new Map([[VOLUME, newer]]));
    expect((await grants.holders(VOLUME)).length).toBe(4);
    expect(await codeOf(grants.revoke(VOLUME, nodeIdOfNumber(4)))).toBe('HF_NOT_FOUND');
    for (const number of [1, 2, 3]) await grants.revoke(VOLUME, nodeIdOfNumber(number));
    expect(await codeOf(grants.revoke(VOLUME, five.node))).toBe('HF_DENIED');
    expect(await grants.holders(VOLUME)).toEqual([five.node]);
    expect(await grants.holders('ab'.repeat(16) as VolumeId)).toEqual([]);
  });

  it('of a grant open for their node and volume alone', async () => {
    const { keyring } = await bed.found(1);
    await bed.members(keyring).put(certify(2), WISHES);
    const grants = bed.grants(keyring);
    await grants.grant(VOLUME, nodeIdOfNumber(2), SECRET);
    const [record] = await bed.registry.list('volume-secret/');
    const moved = `volume-secret/${'ab'.repeat(16)}/${nodeIdOfNumber(2)}`;
    await bed.registry.compareAndSet(moved, 0, record!.value);
    await bed.registry.compareAndSet(`volume-secret/x/${nodeIdOfNumber(2)}`, 0, record!.value);
    const own = await grants.collect(nodeIdOfNumber(2), BoxKey.ofNode(seedOf(2)));
    expect(own).toEqual(new Map([[VOLUME, SECRET]]));
    const others = await grants.collect(nodeIdOfNumber(2), BoxKey.ofNode(seedOf(3)));
    expect(others).toEqual(new Map());
    expect(Buffer.from(record!.value).includes(Buffer.from(SECRET))).toBe(false);
  });
});
