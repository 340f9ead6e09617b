/** The door of `log`: the fenced log and the registry, and their engines. */
export {
  SNAPSHOT_PART_BYTES_MAX,
  storedEntryBytes,
  type CellId,
  type FencedLog,
  type LogEntry,
  type LogHead,
  type Lsn,
  type Registry,
  type Snapshot,
  type Versioned,
} from './fenced-log.ts';
export { type DialEtcd, EtcdConnection, type EtcdConnectionOptions } from './etcd-connection.ts';
export type { EtcdKv } from './etcd-kv.ts';
export { EtcdLog, type EtcdLogOptions, type EtcdPlace } from './etcd-log.ts';
export { EtcdRegistry } from './etcd-registry.ts';
export {
  etcdConfiguration,
  type EtcdMachine,
  type EtcdMemberOptions,
  type EtcdProcess,
  EtcdRunner,
  type EtcdRunnerOptions,
  type EtcdRunnerState,
  type RingMember,
} from './etcd-runner.ts';
export { LocalLog, type LocalLogOptions } from './local-log.ts';
export { LogRegistry, type LogRegistryOptions, REGISTRY_CELL } from './log-registry.ts';
export {
  MemoryEtcd,
  type MemoryEtcdBugs,
  type MemoryEtcdClient,
  type MemoryEtcdFaults,
  type MemoryEtcdOptions,
} from './memory-etcd.ts';
export { MemoryLog, type MemoryLogBugs, type MemoryLogOptions } from './memory-log.ts';
export { MemoryRegistry } from './memory-registry.ts';
export type { MemoryFaults } from './memory-wire.ts';
export {
  answerCalls,
  type CallHandlers,
  RemoteCalls,
  type RemoteCallsOptions,
} from './remote-calls.ts';
export {
  type ProposedChange,
  RemoteRegistry,
  serveRegistry,
  type ServeRegistryOptions,
  watchKey,
} from './remote-registry.ts';
export type { Mirror, MirrorRecord, MirrorRef } from './mirror.ts';
