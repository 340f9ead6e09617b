/** The door of `cluster`: the topology and its layout, by epoch, kept in the registry. */
export type { Cluster } from './cluster.ts';
export { openCluster, type ClusterOptions } from './open-cluster.ts';
