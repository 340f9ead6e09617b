/**
 * What the home permits other members: who may change which key of the registry, and who may ask
 * about which volume. Known from the registry itself, read again with each change of what matters
 * and every now and then, so that asking costs nothing.
 *
 * Of keys: an admin or metadata node may change all. Other members change what each node must be
 * able to: their own devices and the layout that follows, new volumes and those that they hold,
 * their own member record, and grants of volumes that they hold or that nobody holds yet.
 * Invitations, revocations, members and whatever comes later are refused to them.
 */
import { errorCode, errorMessage, type NodeId } from '../../base/index.ts';
import {
  mayChangeTopology,
  type MemberRecord,
  type Members,
  type TopologyRules,
  type VolumeGrants,
} from '../../cluster/index.ts';
import { hasRole, ROLES } from '../../crypto/index.ts';
import type { Env } from '../../env/index.ts';
import type { ProposedChange } from '../../log/index.ts';
import {
  decodeVolume,
  type HostedRequest,
  openVolumes,
  type VolumeRecord,
} from '../../meta/index.ts';
import type { ObservedRegistry } from '../metadata/observed-registry.ts';

export interface RightsOptions {
  readonly env: Env;
  readonly registry: ObservedRegistry;
  readonly members: Members;
  readonly grants: VolumeGrants;
  readonly topology: Pick<TopologyRules, 'tolerance' | 'isAlive'>;
  /** How often it is read again although nothing is known to have changed. */
  readonly followMs?: number | undefined;
}

const FOLLOW_MS = 5000;
/** Keys whose change may change what is permitted. */
const WATCHED = ['member/', 'volume-secret/', 'revocations'];

export class Rights {
  readonly #options: RightsOptions;
  #roles: ReadonlyMap<NodeId, number> = new Map();
  #metadataMembers: readonly MemberRecord[] = [];
  #holders: ReadonlyMap<string, ReadonlySet<NodeId>> = new Map();

  private constructor(options: RightsOptions) {
    this.#options = options;
  }

  static async open(options: RightsOptions): Promise<Rights> {
    const rights = new Rights(options);
    await rights.refresh();
    options.registry.listen(async (key) => {
      if (WATCHED.some((prefix) => key.startsWith(prefix))) await rights.#refreshPatiently();
    });
    return rights;
  }

  isMember(node: NodeId): boolean {
    return this.#roles.has(node);
  }

  /** Whether it holds the metadata key: it may ask whatever it could find out by itself. */
  isMetadataNode(node: NodeId): boolean {
    return ((this.#roles.get(node) ?? 0) & ROLES.metadata) !== 0;
  }

  /** Whether a node may ask this of a cell; the arguments are not checked yet. */
  mayAskCell(node: NodeId, { table, method, volume, args }: HostedRequest): boolean {
    if (this.isMetadataNode(node)) return true;
    if (table === 'references') return this.mayAskReferences(node, method, args);
    return volume !== undefined && this.holds(node, volume);
  }

  /** Whether the volume was granted to the node. */
  holds(node: NodeId, volume: string): boolean {
    return this.isMember(node) && (this.#holders.get(volume)?.has(node) ?? false);
  }

  /**
   * Others name stripes for the volumes that they hold, in sessions of their own; who removes a
   * node ends its session. What tells of all volumes, or lets stripes go, is the steward's:
   * releases come to it by way of its repair.
   */
  mayAskReferences(node: NodeId, method: string, [first]: readonly unknown[]): boolean {
    switch (method) {
      case 'openSession':
      case 'raiseFence':
        return this.isMember(node) && (first === node || this.#isAdmin(node));
      case 'add':
        return (
          fieldOf(fieldOf(first, 'session'), 'id') === node &&
          this.holds(node, volumeOf(fieldOf(first, 'holder')))
        );
      case 'confirm':
        return this.holds(node, volumeOf(first));
      default:
        return method === 'stripe' && this.isMember(node);
    }
  }

  #isAdmin(node: NodeId): boolean {
    return ((this.#roles.get(node) ?? 0) & ROLES.admin) !== 0;
  }

  /** No other member's change may be made between the answer and this one. */
  async mayChange(node: NodeId, change: ProposedChange): Promise<boolean> {
    const isPermitted = await this.#isPermitted(node, change);
    if (!isPermitted) this.#options.env.metrics.add('node_registry_refused', 1);
    return isPermitted;
  }

  async #isPermitted(node: NodeId, change: ProposedChange): Promise<boolean> {
    const { registry, topology } = this.#options;
    const roles = this.#roles.get(node);
    if (roles === undefined) return false;
    if ((roles & (ROLES.admin | ROLES.metadata)) !== 0) return true;
    const [space = '', name = ''] = change.key.split('/');
    switch (space) {
      case 'topology':
      case 'layout':
        return await mayChangeTopology({ registry, ...topology }, node, change);
      case 'volume':
        return await this.#mayChangeVolume(node, name, change);
      case 'volume-secret':
        return this.#mayServe(node, name);
      default:
        return change.key === `member/${node}`;
    }
  }

  /** Whether it serves the volume, or nobody does yet. */
  #mayServe(node: NodeId, volume: string): boolean {
    return !this.#holders.has(volume) || this.holds(node, volume);
  }

  /** Who makes a volume grants it to itself first. */
  async #mayChangeVolume(node: NodeId, name: string, change: ProposedChange): Promise<boolean> {
    const { expected, value } = change;
    const next = value && recordOf(value);
    if (value && next?.name !== name) return false;
    const all = await openVolumes(this.#options.registry).list();
    if (expected === 0) {
      return next !== undefined && this.#mayServe(node, next.id) && !all.some(isOf(next.id));
    }
    const before = all.find((record) => record.name === name);
    if (!before || !this.holds(node, before.id)) return false;
    return next === undefined || next.id === before.id;
  }

  async refresh(): Promise<void> {
    const { members, grants } = this.#options;
    const records = await members.list();
    const holders = await grants.allHolders();
    this.#roles = new Map(records.map(({ certificate: { nodeId, roles } }) => [nodeId, roles]));
    this.#holders = holders;
    this.#metadataMembers = records.filter(({ certificate }) => hasRole(certificate, 'metadata'));
  }

  /** Members that have the metadata role, whether they are there or not. */
  get metadataMembers(): readonly MemberRecord[] {
    return this.#metadataMembers;
  }

  /** Until `signal` is aborted. */
  async follow({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { env, followMs = FOLLOW_MS } = this.#options;
    for await (const _ of env.clock.every(followMs, { signal })) {
      await this.#refreshPatiently();
    }
  }

  /** What was known stays in force meanwhile. */
  async #refreshPatiently(): Promise<void> {
    await this.refresh().catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
      this.#options.env.log.warn('rights cannot be read', { reason: errorMessage(error) });
    });
  }
}

/** `undefined` for what would keep the home from reading its volumes. */
function recordOf(value: Uint8Array): VolumeRecord | undefined {
  try {
    return decodeVolume(value);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}

function isOf(volume: string): (record: VolumeRecord) => boolean {
  return ({ id }) => id === volume;
}

function volumeOf(holder: unknown): string {
  const volume = fieldOf(holder, 'volume');
  return typeof volume === 'string' ? volume : '';
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}
