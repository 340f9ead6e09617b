/**
 * Looks at an etcd that the user named: whether our metadata may lie there, and how it is. Neither
 * its settings nor its members are ours, so what is not well is told and left to its owner.
 *
 * Under the prefix the key `cluster` says whose keys these are. Two clusters under one prefix would
 * share the lives of that etcd (log's etcd-life.ts), so the second one is refused.
 */
import {
  errorCode,
  errorMessage,
  fromUtf8,
  GiB,
  HoldfastError,
  mapBounded,
  utf8,
} from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import {
  type DialEtcd,
  endOfPrefix,
  ETCD_PREFIX,
  EtcdConnection,
  EtcdMember,
  type EtcdKv,
  type EtcdStatus,
  PrefixedKv,
} from '../../log/index.ts';
import { dialsOf, type NamedEtcd } from './named-etcd.ts';

const ASKED_AT_ONCE = 9;
const STATUS_MS = 1500;
/** The first release that our requests are made for. */
const RELEASE_MIN = [3, 4] as const;
/** What etcd takes when it was told nothing, and how much of that may be used without a word. */
const QUOTA_BYTES = 2 * GiB;
const USE_MAX = 0.75;
const NO_SPACE = /NOSPACE/;
/** Newer releases tell how they are only to who administers them. */
const SECRETIVE = /permission denied|user name is empty/;

const CLAIM_KEY = utf8(`${ETCD_PREFIX}cluster`);
/** All keys under the prefix. */
const OURS = { key: utf8(ETCD_PREFIX), end: endOfPrefix(utf8(ETCD_PREFIX)) };

/** One member of it, as one node sees it. */
export interface NamedMember {
  readonly endpoint: string;
  /** `undefined` when it does not answer, or tells how it is to nobody like us. */
  readonly status: EtcdStatus | undefined;
  /** Why it is not well, for people. */
  readonly reason: string | undefined;
}

/** How its members are, in their order. Never fails. */
export async function lookAtNamed(named: NamedEtcd, clock: Clock): Promise<readonly NamedMember[]> {
  const ways = dialsOf(named).map((dial, i) => ({ dial, endpoint: named.endpoints[i]! }));
  return await mapBounded(ways, ASKED_AT_ONCE, async ({ dial, endpoint }) => {
    await using member = new EtcdMember({ dial, clock, deadlineMs: STATUS_MS });
    try {
      const status = await member.status();
      return { endpoint, status, reason: illness(status) };
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      const message = errorMessage(error);
      return { endpoint, status: undefined, reason: SECRETIVE.test(message) ? undefined : message };
    }
  });
}

function illness({ leader, version, errors }: EtcdStatus): string | undefined {
  if (isTooOld(version)) return `it is etcd ${version}; ${RELEASE_MIN.join('.')} is the oldest`;
  if (leader === '0') return 'its members do not agree on a leader';
  return errors[0];
}

function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < RELEASE_MIN[0] || (major === RELEASE_MIN[0] && minor < RELEASE_MIN[1]);
}

export interface Claim {
  readonly clusterId: string;
  readonly clock: Clock;
}

/**
 * Makes sure that all of its members answer, are of one etcd and take changes, and that its keys
 * under the prefix are this cluster's: nobody's before, from now on.
 * @throws HF_UNAVAILABLE, HF_UNSUPPORTED for one that is too old, HF_NO_SPACE, HF_EXISTS for keys
 *   of somebody else, HF_BAD_ARGUMENT for members of several etcds.
 */
export async function claimNamed(named: NamedEtcd, claim: Claim): Promise<void> {
  await assertReached(named, claim.clock);
  const dials = dialsOf(named);
  await withKv(dials, named, { clock: claim.clock, work: (kv) => claimKeys(kv, named, claim) });
  for (const [i, dial] of dials.entries()) {
    await withKv([dial], named, {
      clock: claim.clock,
      work: async (kv) => {
        if ((await owner(kv))?.id === claim.clusterId) return;
        const message = `${named.endpoints[i]} is of another etcd than ${named.endpoints[0]}`;
        throw new HoldfastError('HF_BAD_ARGUMENT', message);
      },
    });
  }
}

/** @throws HF_UNAVAILABLE; HF_NOT_FOUND when nothing of this cluster is there. */
export async function assertClaimed(named: NamedEtcd, { clusterId, clock }: Claim): Promise<void> {
  await withKv(dialsOf(named), named, {
    clock,
    work: async (kv) => {
      if ((await owner(kv))?.id === clusterId) return;
      const where = `${named.endpoints.join(', ')}, under ${named.prefix}`;
      throw new HoldfastError('HF_NOT_FOUND', `nothing of this cluster is in the etcd ${where}`);
    },
  });
}

/**
 * Whether all of its members answer this node and are well.
 * @throws HF_UNAVAILABLE, HF_UNSUPPORTED for one that is too old, HF_NO_SPACE.
 */
export async function assertReached(named: NamedEtcd, clock: Clock): Promise<void> {
  for (const { endpoint, status, reason } of await lookAtNamed(named, clock)) {
    if (reason === undefined) continue;
    const text = `etcd ${placed(reason, endpoint)}`;
    if (status && isTooOld(status.version)) throw new HoldfastError('HF_UNSUPPORTED', text);
    if (!NO_SPACE.test(reason)) throw new HoldfastError('HF_UNAVAILABLE', text);
    const message = `${text}: it takes no changes; make room, and call the alarm off`;
    throw new HoldfastError('HF_NO_SPACE', message);
  }
}

/** A reason that says where, once. */
function placed(reason: string, endpoint: string): string {
  return reason.startsWith(endpoint) ? reason : `${endpoint}: ${reason}`;
}

async function withKv(
  members: readonly DialEtcd[],
  { prefix }: NamedEtcd,
  { clock, work }: { readonly clock: Clock; readonly work: (kv: EtcdKv) => Promise<void> },
): Promise<void> {
  await using connection = new EtcdConnection({ members, clock });
  try {
    await work(new PrefixedKv(connection, prefix));
  } catch (error) {
    if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
    // A claim that may or may not have been made is found by the next try.
    throw new HoldfastError('HF_UNAVAILABLE', errorMessage(error), { cause: error });
  }
}

/** Who has the prefix, and how many keys it has. */
async function owner(kv: EtcdKv): Promise<{ id: string | undefined; keyCount: number }> {
  const { answers } = await kv.transact({
    conditions: [],
    ifMet: [
      { do: 'get', key: CLAIM_KEY },
      { do: 'count', ...OURS },
    ],
    ifNot: [],
  });
  const claim = answers[0]?.rows[0];
  return { id: claim && fromUtf8(claim.value), keyCount: answers[1]?.count ?? 0 };
}

async function claimKeys(kv: EtcdKv, { prefix }: NamedEtcd, { clusterId }: Claim): Promise<void> {
  const before = await owner(kv);
  if (before.id === undefined && before.keyCount > 0) throw taken(prefix, 'somebody else');
  if (before.id === clusterId) return;
  await kv.transact({
    conditions: [{ key: CLAIM_KEY, revision: 'created', is: 'equal', than: 0 }],
    ifMet: [{ do: 'put', key: CLAIM_KEY, value: utf8(clusterId) }],
    ifNot: [],
  });
  const { id } = await owner(kv);
  if (id !== clusterId) throw taken(prefix, `cluster ${id}`);
}

function taken(prefix: string, whose: string): HoldfastError {
  const message = `in that etcd ${whose} has keys that begin with ${prefix}`;
  return new HoldfastError('HF_EXISTS', `${message}; choose another --prefix`);
}

/** What the user should know or do about an etcd that is his, one line each. */
export function namedWarnings(members: readonly NamedMember[]): string[] {
  const ill = members.filter(({ reason }) => reason !== undefined);
  const lines = ill.map(({ endpoint, reason = '' }) => {
    const isFull = NO_SPACE.test(reason) ? '; names cannot be changed until it has room' : '';
    return `of your etcd that keeps names, ${placed(reason, endpoint)}${isFull}`;
  });
  const largest = Math.max(0, ...members.map(({ status }) => status?.dbBytes ?? 0));
  const quota = members.find(({ status }) => status?.quotaBytes)?.status?.quotaBytes;
  if (largest >= (quota ?? QUOTA_BYTES) * USE_MAX) {
    const limit = quota === undefined ? 'with its usual quota of 2 GiB' : 'with its quota';
    lines.push(
      `your etcd that keeps names is filling up, and ${limit} soon takes no changes: see that it ` +
        'compacts by itself (--auto-compaction-retention), and defragment it',
    );
  }
  return lines;
}
