/** Who is a member, and who was granted which volume, as a registry has it. */
import { Members, type MembersOptions, VolumeGrants } from '../../cluster/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';

export type Identity = Pick<MembersOptions, 'clusterId' | 'clusterPublicKey'>;

export function membersIn(where: {
  readonly env: Env;
  readonly registry: Registry;
  /** Only the cluster's identity is kept of it. */
  readonly identity: Identity;
}): { readonly members: Members; readonly grants: VolumeGrants } {
  const { env, registry, identity } = where;
  const { clusterId, clusterPublicKey } = identity;
  const members = new Members({ env, registry, clusterId, clusterPublicKey });
  return { members, grants: new VolumeGrants({ env, registry, members }) };
}
