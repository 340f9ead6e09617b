/**
 * Aim: the care of a ring works on real etcds: who is a member and who leads; a dead member is
 * replaced by a learner that is promoted; an etcd that is full gets its room back. Method: real
 * processes on loopback; messages as etcd sends them. Skipped, and said so, where no etcd is
 * installed.
 */
import { describe, expect, it } from 'vitest';
import { type BedMember, EtcdBed, findEtcd } from '../../test/suites/etcd-bed.ts';
import { processesOn } from '../../test/suites/etcd-work.ts';
import { errorCode, fromHex, HoldfastError, MiB } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { EtcdMember, makeRoom } from './index.ts';
import { decodeAlarms, decodeStatus, encodeAlarm } from './etcd-member-messages.ts';

const binary = findEtcd();
if (!binary) console.warn('SKIPPED: the care of real etcds; install etcd-server (3.4–3.6)');
const { clock } = realEnv();

function memberOf({ dial }: BedMember): EtcdMember {
  return new EtcdMember({ dial, clock });
}

/** Tries again while the ring does not permit it, or does not answer. */
async function untilDone<Result>(work: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!['HF_BUSY', 'HF_UNAVAILABLE', 'HF_UNKNOWN_OUTCOME'].includes(errorCode(error) ?? '')) {
        throw error;
      }
      await clock.sleep(100);
    }
  }
}

describe('messages', () => {
  it('keep all 64 bits of an id', () => {
    // header {member_id 0xfedcba9876543210}, version "3.4.23", dbSize 20480, leader: the same
    const header = '0a0b109 0e4d0b287d3aeeefe01'.replaceAll(' ', '');
    const status = decodeStatus(
      fromHex(`${header}1206332e342e323318 80a00120 90e4d0b287d3aeeefe01`.replaceAll(' ', '')),
    );
    expect(status).toMatchObject({ id: 'fedcba9876543210', leader: 'fedcba9876543210' });
    expect(status).toMatchObject({ version: '3.4.23', dbBytes: 20_480, isLearner: false });
    const alarm = { member: 'fedcba9876543210', kind: 'no space' } as const;
    const sent = encodeAlarm('disarm', alarm);
    expect(Buffer.from(sent).toString('hex')).toBe('08021090e4d0b287d3aeeefe011801');
    expect(() => decodeAlarms(fromHex('1001'))).toThrow(HoldfastError);
  });
});

describe.skipIf(!binary)('a ring', { timeout: 60_000 }, () => {
  it('replaces a dead member: a learner joins, is promoted, the dead one is removed', async () => {
    await using ring = await EtcdBed.open(binary!, 3);
    const dead = (await ring.leader())!;
    const others = ring.members.filter((member) => member !== dead);
    const { log, kv } = processesOn('replaced/', () => ring.dials)();
    await log.seize('cell-1');
    await dead.runner.stop();

    await using via = memberOf(others[0]!);
    const before = await untilDone(() => via.members());
    expect(before.map(({ name }) => name).sort()).toEqual(['m0', 'm1', 'm2']);
    const deadId = before.find(({ name }) => name === dead.options.name)!.id;
    await untilDone(() => via.remove(deadId));
    expect(await via.remove(deadId).catch(errorCode)).toBe('HF_NOT_FOUND');
    const joined = await untilDone(() => ring.join('m3', via));
    await using learner = memberOf(joined);
    expect((await untilDone(() => learner.status())).isLearner).toBe(true);
    const id = (await via.members()).find(({ isLearner }) => isLearner)!.id;
    await untilDone(() => via.promote(id));
    const after = await via.members();
    expect(after.map(({ isLearner }) => isLearner)).toEqual([false, false, false]);
    expect(after.map(({ name }) => name)).toContain('m3');

    // The new one carries the ring with one of the old ones.
    kv.setMembers([joined.dial]);
    await others[1]!.runner.stop();
    expect((await untilDone(() => log.seize('cell-1'))).epoch).toBeGreaterThan(1);
    const status = await learner.status();
    expect(status.leader).not.toBe('0');
    expect(status.raftAppliedIndex).toBeLessThanOrEqual(status.raftIndex);
    await kv[Symbol.asyncDispose]();
  });

  it('has its room made while one is away', async () => {
    await using bed = await EtcdBed.open(binary!, 3, { quotaBytes: 8 * MiB });
    const { log, kv } = processesOn('away/', () => bed.dials)();
    await using all = new AsyncDisposableStack();
    const members = bed.members.map((one) => all.use(memberOf(one)));
    await bed.members[0]!.runner.stop();
    const entry = new Uint8Array(MiB / 2);
    const { epoch } = await untilDone(() => log.seize('cell-1'));
    let outcome: unknown = 'ok';
    for (let lsn = 1; outcome === 'ok'; lsn++) {
      outcome = await log.append('cell-1', { epoch, lsn }, entry).catch(errorCode);
    }
    expect((await members[1]!.alarms()).map(({ kind }) => kind)).toContain('no space');
    expect(await makeRoom(members)).toMatchObject({ wasFull: true });
    expect((await members[1]!.alarms()).length).toBeLessThan(3);
    expect(await makeRoom([members[0]!]).catch(errorCode)).toBe('HF_UNAVAILABLE');
    await kv[Symbol.asyncDispose]();
  });

  it('that is full takes appends again after its room was made', async () => {
    await using bed = await EtcdBed.open(binary!, 1, { quotaBytes: 8 * MiB });
    const { log, kv } = processesOn('full/', () => bed.dials)();
    await using member = memberOf(bed.members[0]!);
    expect(await makeRoom([member])).toMatchObject({ wasFull: false, defragmented: [] });
    const entry = new Uint8Array(MiB / 2);
    for (let round = 0; ; round++) {
      const outcome = await appendAndTrim();
      if (outcome !== 'ok') break;
      expect(round).toBeLessThan(100);
    }
    expect(await log.seize('cell-1').catch(errorCode)).toBe('HF_NO_SPACE');
    const [alarm] = await member.alarms();
    expect(alarm?.kind).toBe('no space');
    const room = await makeRoom([member]);
    expect(room).toMatchObject({ wasFull: true, defragmented: [alarm!.member] });
    expect(room.dbBytesMax).toBeGreaterThan(7 * MiB);
    expect((await member.status()).dbBytes).toBeLessThan(room.dbBytesMax / 2);
    expect(await member.alarms()).toEqual([]);
    expect(await appendAndTrim()).toBe('ok');
    await kv[Symbol.asyncDispose]();

    /** What is trimmed stays in the file. */
    async function appendAndTrim(): Promise<unknown> {
      const cell = 'cell-1';
      try {
        const { epoch, lsn } = await log.seize(cell);
        const outcome = await log.append(cell, { epoch, lsn: lsn + 1 }, entry);
        await log.saveSnapshot(cell, { epoch, lsn: lsn + 1 }, none());
        await log.trim(cell, lsn + 1);
        return outcome;
      } catch (error) {
        return errorCode(error);
      }
    }
    async function* none(): AsyncGenerator<Uint8Array> {}
  });
});
