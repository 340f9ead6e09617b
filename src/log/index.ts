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
  type SaveSnapshotOptions,
  type SealableLog,
  type Snapshot,
  type Versioned,
} from './fenced-log.ts';
export type { DialEtcd } from './etcd-channel.ts';
export { EtcdConnection, type EtcdConnectionOptions } from './etcd-connection.ts';
export type { EtcdKv } from './etcd-kv.ts';
export { endOfPrefix } from './etcd-messages.ts';
export { ETCD_PREFIX, PrefixedKv } from './etcd-prefix.ts';
export { EtcdDraft } from './etcd-draft.ts';
export type { EtcdPlace } from './etcd-generation.ts';
export { beginLife } from './etcd-life.ts';
export { EtcdLog, type EtcdLogOptions } from './etcd-log.ts';
export { EtcdMember, type EtcdCareOptions } from './etcd-member.ts';
export type {
  AlarmKind,
  EtcdAlarm,
  EtcdMemberId,
  EtcdMemberInfo,
  EtcdStatus,
} from './etcd-member-messages.ts';
export { type EtcdRoom, makeRoom } from './etcd-room.ts';
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
export {
  type CellCopy,
  changeEngine,
  type ChangeEngineOptions,
  type GenerationDraft,
  type NextGeneration,
  type RegistryCopy,
  type SealableRegistry,
  sealedTo,
} from './generations.ts';
export { LocalDraft } from './local-draft.ts';
export { PLAIN_RECORDS, type RecordSealing } from './local-record.ts';
export { LocalLog, type LocalLogOptions, newestLocalGeneration } from './local-log.ts';
export { LogRegistry, type LogRegistryOptions, REGISTRY_CELL } from './log-registry.ts';
export {
  MemoryEtcd,
  type MemoryEtcdBugs,
  type MemoryEtcdClient,
  type MemoryEtcdFaults,
  type MemoryEtcdOptions,
} from './memory-etcd.ts';
export { MemoryDraft, MemoryGeneration, type MemoryGenerationOptions } from './memory-draft.ts';
export { MemoryLog, type MemoryLogBugs, type MemoryLogOptions } from './memory-log.ts';
export { MemoryRegistry, type MemoryRegistryOptions } from './memory-registry.ts';
export type { MemoryFaults } from './memory-wire.ts';
export {
  answerCalls,
  type BytesCall,
  callForBytes,
  type CallHandlers,
  RemoteCalls,
  type RemoteCallsOptions,
} from './remote-calls.ts';
export {
  type PoolSnapshot,
  PoolSnapshots,
  type PoolSnapshotsOptions,
  registryIn,
} from './pool-snapshots.ts';
export {
  type ProposedChange,
  RemoteRegistry,
  serveRegistry,
  type ServeRegistryOptions,
} from './remote-registry.ts';
export { watchKey } from './watch-key.ts';
export type { Mirror, MirrorRecord, MirrorRef, PartStore } from './mirror.ts';
