/**
 * How a node becomes a member. It dials the inviter that its invitation names; the transport proves
 * that this is who answers. Its request, signed with the invitation's secret, is answered by an
 * admin node: the inviter, or one to which the inviter passes it on. The invitation is used up
 * before anything is given out; see invitations.ts for what happens when the answer is lost.
 */
import {
  errorCode,
  errorMessage,
  HoldfastError,
  type NodeId,
  throwIfAborted,
  type VolumeId,
} from '../base/index.ts';
import {
  clusterSecretOf,
  hasRole,
  type Invitation,
  issueCertificate,
  type Keyring,
  SigningKey,
} from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import { formatAddress, type Network, parseAddress } from '../net/index.ts';
import { Invitations } from './invitations.ts';
import {
  denied,
  encodeJoinAnswer,
  encodeJoinRequest,
  type JoinRequest,
  type KnownMember,
  MEMBERS_TOLD_MAX,
  readJoinAnswer,
  readJoinRequest,
} from './join-messages.ts';
import { isAdmin, Members, type Wishes } from './members.ts';
import { readRevocations } from './revocations.ts';
import { VolumeGrants } from './volume-secrets.ts';

const JOIN_METHOD = 'cluster.join';
/** From an inviter that is no admin node to one that is. */
const PASSED_ON_METHOD = 'cluster.join-passed-on';
/** Admin nodes that an inviter tries. */
const ADMINS_TRIED_MAX = 3;
const ADMIN_DEADLINE_MS = 5000;
const JOIN_DEADLINE_MS = 20_000;
const RANDOM_BYTES = 32;

export interface ServeJoinOptions {
  readonly env: Env;
  readonly registry: Registry;
  readonly network: Pick<Network, 'self' | 'addresses' | 'handle' | 'call' | 'members'>;
  /** Of this node, as of the call. With a cluster key in it the node issues certificates. */
  readonly keyring: () => Keyring;
}

/** Answers those that want to join. */
export function serveJoin(options: ServeJoinOptions): void {
  const { network, env, registry, keyring } = options;
  const about = { env, registry, ...publicPartOf(keyring()) };
  const members = new Members(about);
  const invitations = new Invitations(about);

  const answer = async (bytes: Uint8Array, request: JoinRequest, signal: AbortSignal) => {
    if (request.clusterId !== about.clusterId) throw denied();
    if (!(await invitations.isKnown(request.invitationPublicKey))) throw denied();
    return keyring().clusterKey
      ? await issue({ ...options, members, invitations }, request)
      : await passOn({ ...options, members }, bytes, signal);
  };

  network.handle<Uint8Array>(
    JOIN_METHOD,
    { forStrangers: true },
    async (bytes, { from, signal }) => {
      const request = readJoinRequest(bytes);
      if (request.nodeId !== from || request.inviter !== network.self) throw denied();
      return await answer(bytes, request, signal);
    },
  );
  network.handle<Uint8Array>(PASSED_ON_METHOD, {}, async (bytes, { from, signal }) => {
    const request = readJoinRequest(bytes);
    if (request.inviter !== from) throw denied();
    if (!keyring().clusterKey) throw new HoldfastError('HF_UNSUPPORTED', 'this is no admin node');
    return await answer(bytes, request, signal);
  });
}

/** Puts this node into the list of members: the first one, and after a recovery. */
export async function registerSelf(
  about: { readonly env: Env; readonly registry: Registry; readonly keyring: Keyring },
  wishes: Wishes,
): Promise<void> {
  const { env, registry, keyring } = about;
  const members = new Members({ env, registry, ...publicPartOf(keyring) });
  await members.put(keyring.certificate, wishes);
}

function publicPartOf({ clusterId, clusterPublicKey }: Keyring) {
  return { clusterId, clusterPublicKey };
}

interface Issuer extends ServeJoinOptions {
  readonly members: Members;
  readonly invitations: Invitations;
}

async function issue(issuer: Issuer, request: JoinRequest): Promise<Uint8Array> {
  const { env, registry, members, invitations } = issuer;
  const { clusterKey: seed, clusterPublicKey, metadataKey, volumes } = issuer.keyring();
  if (!seed) throw new HoldfastError('HF_UNSUPPORTED', 'this is no admin node');
  const clusterKey = new SigningKey(seed);
  const { nodeId, invitationPublicKey: publicKey } = request;
  const serial = await nextSerial(issuer, nodeId);
  const issued = await invitations.use({ publicKey, nodeId }, (roles) =>
    issueCertificate(clusterKey, {
      clusterId: request.clusterId,
      publicKey: request.publicKey,
      boxKey: request.boxKey,
      roles,
      serial,
      issuedAtMs: env.clock.now(),
      notAfterMs: 0,
    }),
  );
  const { certificate, certificateBytes } = await members.put(issued, request);
  env.log.info('a node was admitted', { node: nodeId, serial: certificate.serial });
  await grantVolumes({ env, registry, members }, volumes);
  const keys = {
    clusterSecret: clusterSecretOf(seed),
    metadataKey: hasRole(certificate, 'metadata') ? metadataKey : undefined,
    clusterKey: hasRole(certificate, 'admin') ? seed : undefined,
  };
  const known = knownMembers(issuer, nodeId);
  const answer = { clusterPublicKey, certificate, certificateBytes, keys, members: known };
  return encodeJoinAnswer(clusterKey, answer, env.random.bytes(RANDOM_BYTES));
}

/** Above every certificate that the node ever had. */
async function nextSerial({ registry, members }: Issuer, node: NodeId): Promise<number> {
  const stored = (await members.stored(node))?.certificate.serial ?? 0;
  const floor = (await readRevocations(registry)).floors.get(node) ?? 0;
  return Math.max(stored, floor) + 1;
}

/** A new member may be one of the first three. What fails here is made up for by the next one. */
async function grantVolumes(
  about: ConstructorParameters<typeof VolumeGrants>[0],
  secrets: ReadonlyMap<VolumeId, Uint8Array>,
): Promise<void> {
  await new VolumeGrants(about).grantDefaults(secrets).catch((error: unknown) => {
    if (errorCode(error) === undefined) throw error;
    about.env.log.warn('volumes were not granted', { reason: errorMessage(error) });
  });
}

/** Where the cluster can be found: this node, and some that are alive. */
function knownMembers({ network }: ServeJoinOptions, joiner: NodeId): KnownMember[] {
  const others = network
    .members()
    .filter(({ node, health }) => health === 'alive' && node !== joiner && node !== network.self)
    .slice(0, MEMBERS_TOLD_MAX - 1);
  return [{ node: network.self, addresses: network.addresses }, ...others].map(
    ({ node, addresses }) => ({ node, addresses: addresses.map(formatAddress) }),
  );
}

/** @throws HF_UNAVAILABLE when no admin node answers; what the admin node throws. */
async function passOn(
  { network, members }: ServeJoinOptions & { readonly members: Members },
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const admins = (await members.list())
    .filter(isAdmin)
    .map(({ certificate }) => certificate.nodeId);
  for (const admin of admins.slice(0, ADMINS_TRIED_MAX)) {
    throwIfAborted(signal);
    try {
      const options = { deadlineMs: ADMIN_DEADLINE_MS, signal };
      return await network.call<Uint8Array>(admin, PASSED_ON_METHOD, bytes, options);
    } catch (error) {
      const code = errorCode(error);
      const isAway =
        code === 'HF_UNAVAILABLE' || code === 'HF_TIMEOUT' || code === 'HF_UNSUPPORTED';
      if (!isAway) throw error;
    }
  }
  throw new HoldfastError('HF_UNAVAILABLE', 'no admin node can be reached; try again later');
}

export interface JoinOptions {
  readonly network: Pick<Network, 'connect' | 'call' | 'disconnect'>;
  readonly invitation: Invitation;
  /** Of the node; durable by now, so that asking again after a crash finds the same node. */
  readonly nodeSeed: Uint8Array;
  readonly wishes: Wishes;
  readonly signal?: AbortSignal | undefined;
}

export interface Joined {
  /** To be made durable before anything else is done with it. */
  readonly keyring: Keyring;
  readonly members: readonly KnownMember[];
}

/**
 * Asks to become a member. Then: keep the keyring, tell the admission, and dial the members anew.
 * @throws HF_UNAVAILABLE when the inviter cannot be reached, HF_DENIED when it is another node or
 *   the invitation was refused, HF_FORGED when the answer is not of the cluster of the invitation.
 */
export async function joinCluster(options: JoinOptions): Promise<Joined> {
  const { network, invitation, nodeSeed, wishes, signal } = options;
  const request = encodeJoinRequest(invitation, nodeSeed, wishes);
  await reachInviter(options);
  const call = { deadlineMs: JOIN_DEADLINE_MS, signal, toStranger: true };
  const bytes = await network.call(invitation.inviter, JOIN_METHOD, request, call);
  const answer = readJoinAnswer(bytes, { ...invitation, nodeSeed });
  const { clusterPublicKey, certificateBytes, keys, members } = answer;
  const { clusterId, inviter } = invitation;
  network.disconnect(inviter); // to this link the node is a stranger
  const own = { clusterId, nodeSeed, certificate: certificateBytes, volumes: new Map() };
  return { keyring: { ...own, clusterPublicKey, ...keys }, members };
}

/** Tries the addresses of the invitation in turn. */
async function reachInviter({ network, invitation, signal }: JoinOptions): Promise<void> {
  const { addresses, inviter } = invitation;
  const failures: string[] = [];
  let code: 'HF_UNAVAILABLE' | 'HF_DENIED' = 'HF_UNAVAILABLE';
  for (const text of addresses) {
    throwIfAborted(signal);
    try {
      await network.connect(parseAddress(text), { expect: inviter, signal });
      return;
    } catch (error) {
      if (errorCode(error) === undefined || errorCode(error) === 'HF_INTERRUPTED') throw error;
      if (errorCode(error) === 'HF_DENIED') code = 'HF_DENIED';
      failures.push(`${text}: ${errorMessage(error)}`);
    }
  }
  throw new HoldfastError(code, `the inviter cannot be reached: ${failures.join('; ')}`);
}
