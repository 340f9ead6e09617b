/**
 * Aim: a member that asks becomes a metadata node, with a certificate that says so and the key,
 * also when it crashed in between; who is no member, or was removed, gets nothing; nobody else can
 * open what lies in the registry. Method: nodes in memory over one registry; an admin node that is
 * away.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  addressOf,
  AdmissionBed,
  memberKeyring,
  nodeIdOfNumber,
  seedOf,
} from '../../test/suites/admission-bed.ts';
import { errorCode } from '../base/index.ts';
import { hasRole, type Keyring, ownCertificate, readCertificate } from '../crypto/index.ts';
import { realEnv, silentLog } from '../env/index.ts';
import { parseAddress } from '../net/index.ts';
import { VolumeGrants } from './volume-secrets.ts';
import { Members } from './members.ts';
import {
  forgetMetadataKey,
  giveMetadataRole,
  serveMetadataRole,
  takeMetadataRole,
} from './metadata-role.ts';
import { revoke } from './revocations.ts';

const env = realEnv({ log: silentLog });

describe('the metadata role', () => {
  let bed: AdmissionBed;
  let founder: Awaited<ReturnType<AdmissionBed['found']>>;
  let keyring: Keyring;

  beforeEach(async () => {
    bed = new AdmissionBed(env);
    founder = await bed.found(1);
    const { registry } = bed;
    serveMetadataRole({ env, registry, network: founder.network, keyring: () => founder.keyring });
    keyring = memberKeyring(founder.keyring, seedOf(2), 5);
    const members = new Members({ env, registry, ...keyring });
    await members.put(keyring.certificate, { name: 'node-2', labels: { rack: 'r1' } });
  });

  afterEach(async () => {
    await bed[Symbol.asyncDispose]();
  });

  async function asMember(number: number, own: Keyring) {
    const { network } = await bed.open(number, own);
    await network.connect(parseAddress(addressOf(1))).catch(() => {});
    return { env, registry: bed.registry, network, keyring: () => own };
  }

  it('is given to a member that asks, with a certificate and the key', async () => {
    const about = await asMember(2, keyring);
    const role = await takeMetadataRole(about);
    expect(role?.metadataKey).toEqual(founder.keyring.metadataKey);
    const certificate = readCertificate(role!.certificate, keyring);
    expect(hasRole(certificate, 'metadata')).toBe(true);
    expect(hasRole(certificate, 'store')).toBe(true);
    expect(hasRole(certificate, 'admin')).toBe(false);
    expect(certificate.serial).toBe(2);
    expect(certificate.issuedAtMs).toBe(ownCertificate(keyring).issuedAtMs);
    const members = new Members({ env, registry: bed.registry, ...keyring });
    const record = await members.get(nodeIdOfNumber(2));
    expect(record).toMatchObject({ name: 'node-2', labels: { rack: 'r1' } });
    // Asked again after a crash, the same is found, with the old certificate or the new one.
    expect(await takeMetadataRole(about)).toEqual(role);
    const kept = { ...keyring, ...role };
    expect(await takeMetadataRole({ ...about, keyring: () => kept })).toEqual(role);
  });

  it('is found where it was given while the member was away, without an admin node', async () => {
    const { registry } = bed;
    await giveMetadataRole({ env, registry, keyring: () => founder.keyring }, nodeIdOfNumber(2));
    await founder.network[Symbol.asyncDispose]();
    const role = await takeMetadataRole(await asMember(2, keyring));
    expect(role?.metadataKey).toEqual(founder.keyring.metadataKey);
  });

  it('is given by nobody while no admin node answers', async () => {
    await founder.network[Symbol.asyncDispose]();
    expect(await takeMetadataRole(await asMember(2, keyring))).toBeUndefined();
  });

  it('is not given to who is no member, nor by who lacks the keys', async () => {
    const { registry } = bed;
    const own = founder.keyring;
    const give = giveMetadataRole({ env, registry, keyring: () => own }, nodeIdOfNumber(3));
    expect(await give.catch(errorCode)).toBe('HF_DENIED');
    await revoke({ env, registry }, nodeIdOfNumber(2), 9);
    const again = giveMetadataRole({ env, registry, keyring: () => own }, nodeIdOfNumber(2));
    expect(await again.catch(errorCode)).toBe('HF_DENIED');
    const poor = giveMetadataRole({ env, registry, keyring: () => keyring }, nodeIdOfNumber(1));
    expect(await poor.catch(errorCode)).toBe('HF_UNSUPPORTED');
  });

  it('opens for that node alone, and is gone when it was forgotten', async () => {
    const about = await asMember(2, keyring);
    const role = await takeMetadataRole(about);
    const { registry } = bed;
    const key = `metadata-key/${nodeIdOfNumber(2)}`;
    const stored = (await registry.get(key))!;
    const other = memberKeyring(founder.keyring, seedOf(3), 6);
    const members = new Members({ env, registry, ...other });
    await members.put(other.certificate, { name: 'node-3', labels: {} });
    await giveMetadataRole({ env, registry, keyring: () => founder.keyring }, nodeIdOfNumber(3));
    const theirs = (await registry.get(`metadata-key/${nodeIdOfNumber(3)}`))!;
    await registry.compareAndSet(theirs.key, theirs.version, stored.value);
    await founder.network[Symbol.asyncDispose]();
    expect(await takeMetadataRole(await asMember(3, other))).toBeUndefined();
    await forgetMetadataKey({ env, registry }, nodeIdOfNumber(2));
    expect(await registry.get(key)).toBeUndefined();
    expect(await takeMetadataRole({ ...about, keyring: () => ({ ...keyring, ...role }) })).toBe(
      undefined,
    );
  });

  it('does not change who serves volumes by default', async () => {
    const { registry } = bed;
    const members = new Members({ env, registry, ...keyring });
    await giveMetadataRole({ env, registry, keyring: () => founder.keyring }, nodeIdOfNumber(2));
    const ids = (await members.list()).map(({ certificate }) => certificate.nodeId);
    expect(ids).toEqual([nodeIdOfNumber(1), nodeIdOfNumber(2)]);
    const grants = new VolumeGrants({ env, registry, members });
    await grants.grantDefaults(founder.keyring.volumes);
    expect((await grants.allHolders()).size).toBe(1);
  });
});
