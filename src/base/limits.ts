/**
 * Every limit in one table, with its unit in its name and its reason beside it. Relations between
 * limits are asserted where the modules that depend on them start.
 */
import { GiB, KiB, MiB } from './bytes.ts';

export const LIMITS = {
  /** Content of one stripe in bytes; fls's default width. */
  stripeBytesMax: 10 * MiB,
  /** All shards of one stripe together; wide schemes get shorter stripes: memory stays bounded. */
  stripeShardBytesMax: 20 * MiB,
  /** Content below this is stored as n − k + 1 copies: same tolerance, fewer seeks, no decode. */
  copyContentBytesMax: 64 * KiB,
  /** Plaintext bytes of one AES-GCM segment: the unit of a verified range read. */
  segmentBytes: 64 * KiB,
  /** Content is padded to this before sealing, so that lengths say less. */
  paddingBytes: 4 * KiB,
  /** Bytes of one chunk; the store's format allows 4 GiB − 1. */
  chunkBytesMax: 64 * MiB,
  /** Unit of a device. */
  blockBytes: 4 * KiB,
  /** Smallest device that can be formatted; the journal and two superblock pairs need the room. */
  deviceBytesMin: 16 * MiB,
  /** First and largest segment file of a directory store. */
  segmentFileBytesMin: 16 * MiB,
  segmentFileBytesMax: GiB,
  /** Extents of one chunk in a store; gathers free runs up to 95 % full without compaction. */
  extentsPerChunkMax: 16,
  /** Records of one journal batch in a store. */
  journalBatchRecordsMax: 16_000,
  /** Small chunks of one group commit, staged and written at once. */
  stagedBytesMax: 4 * MiB,
  /** A store whose last checkpoint is older makes one with the next commit: mounts stay short. */
  checkpointAgeMsMax: 10 * 60 * 1000,
  /** Chunk operations in flight per device, so that one hung disk cannot fill the thread pool. */
  deviceOperationsMax: 16,
  /** Bytes of one entry of a cell's log. */
  logEntryBytesMax: 1 * MiB,
  /** Log of a cell since its snapshot before the next snapshot is due. */
  logBytesBeforeSnapshot: 2 * MiB,
  /** Entries of a cell that no snapshot has are put into one after this time, however few. */
  snapshotAgeMs: 60_000,
  /** How often a replica looks at its log when nobody tells it that there is more. */
  replicaIntervalMs: 1000,
  /** Requests of one session to one slot that may be asked again, side by side. */
  retryLanesMax: 64,
  /** Answers of retried requests that are kept are small; what is larger is HF_TOO_LARGE. */
  retryAnswerBytesMax: 64 * KiB,
  /** An intent of another cell's transaction is asked about after this time. */
  intentPatienceMs: 1000,
  /** How long a cross-cell operation is tried while others hold what it needs. */
  crossCellMsMax: 10_000,
  /** Longest pause before it is tried again. */
  crossCellPauseMsMax: 200,
  /** Rows of one step of a slot move. */
  movePageBytes: 256 * KiB,
  /** A name of a directory entry, in bytes of UTF-8 (POSIX NAME_MAX). */
  nameBytesMax: 255,
  /** A key of an object, in bytes of UTF-8 (S3). */
  keyBytesMax: 1024,
  /** Objects or directory entries in one answer of the metadata plane. */
  listPageMax: 1000,
  /** Encodings of one object, side by side. */
  encodingsMax: 4,
  /** Stripes of one object that are being encoded or decoded at once. */
  stripesInFlightMax: 4,
  /**
   * Of each store, shards leave this free (or a 16th), so that metadata can still say what goes.
   */
  metadataReserveBytesMax: 64 * MiB,
  /** Stripes whose references change in one entry of the log: some 350 bytes of rows each. */
  stripesPerEntryMax: 256,
  /** The n blocks of one stripe of chunk files; a few stripes are in memory at once. */
  chunkFileStripeBytesMax: 256 * MiB,
  /** A control request that is not a stream of content. */
  controlRequestBytesMax: 1 * MiB,
  /** Age in ms at which a chunk that nothing ever named may be collected. */
  unnamedChunkGraceMs: 24 * 3600 * 1000,
  /** Time for a look at a disk, which may have to spin up first; then it counts as hung. */
  diskLookMsMax: 30_000,
  /** How often a store checks that its folder is still the one it opened. */
  storeCheckMs: 1000,
  /** Payload of a request, reply or error between nodes; what is larger travels as a stream. */
  messageBytesMax: 1 * MiB,
  /** Payload of one piece of a stream between nodes: the grain of fairness on a connection. */
  dataFrameBytesMax: 256 * KiB,
  /** Bytes of a stream that may be under way unread: 1 MiB fills 1 GB/s at 1 ms. */
  streamWindowBytes: 1 * MiB,
  /** Requests of one peer that are being answered on one connection. */
  requestsPerConnectionMax: 1024,
  /** Streams among them; each may hold a window of memory. */
  streamsPerConnectionMax: 128,
  /** Unsent bytes for a peer that does not read; replies beyond are refused, then it is dropped. */
  queuedBytesPerConnectionMax: 16 * MiB,
  /**
   * Pings of a peer in one tick; an honest one sends one in five, and few while it hears nothing.
   */
  pingsPerTickMax: 16,
  /** How often the network looks at deadlines, silence and idle links. */
  networkTickMs: 100,
  /** Ticks between pings, and of silence until a peer counts as gone (5 and 15 s). */
  pingEveryTicks: 50,
  silentTicksMax: 150,
  /** A peer that somebody waits for is pinged when nothing came for so many ticks (0.5 s). */
  quietTicksMax: 5,
  /**
   * Ticks after which a peer is silent when neither pong nor anything else comes (2 s). A pong
   * needs no disk and no queue: computing and collecting garbage take a node a second at most.
   */
  unansweredTicksMax: 20,
  /** Time from the first byte of a connection until both ends have agreed to talk. */
  handshakeMsMax: 5000,
  /** Connections that have not got that far: from one address, and in all. */
  halfOpenPerAddressMax: 32,
  halfOpenMax: 256,
  /** Connections of all kinds; far above what warm links need. */
  connectionsMax: 1024,
  /** Peers that stay connected, about 120 KB each; the idle ones used longest ago are let go. */
  warmLinksMax: 64,
  /** A bulk connection nobody uses is closed after this. */
  bulkIdleMs: 60_000,
  /** Pause after a failed dial: doubled each time, with jitter. */
  dialPauseMsMin: 250,
  dialPauseMsMax: 30_000,
  /** The longest deadline of a call between nodes; longer work reports progress on a stream. */
  callDeadlineMsMax: 5 * 60 * 1000,
  /** Calls of nodes that are not members (those that want to join), per second in all. */
  strangerCallsPerSecondMax: 10,
  /** Addresses that one node may claim. */
  addressesPerNodeMax: 16,
  /** What a node tells the others of itself: all of it, and its certificate, in bytes. */
  memberRecordBytesMax: 4 * KiB,
  recordCredentialsBytesMax: 1 * KiB,
  /** Addresses in it, and labels of at most so many characters. */
  addressesPerRecordMax: 8,
  labelsPerNodeMax: 16,
  labelCharsMax: 64,
  /** Members that a node keeps: up to here all; 29 bytes in a digest, 300 in memory each. */
  membersMax: 2000,
  /** Beyond that, of each bucket of ids at least so many: some 4 hops at 50,000 nodes. */
  bucketPeers: 8,
  /** Rounds of a look-up, and questions in one; log2 N rounds are needed. */
  lookupHopsMax: 32,
  lookupQuestionsMax: 3,
  /** Looked-up nodes that are not among the members but whose addresses are remembered. */
  lookedUpMax: 256,
  /** How often a node compares notes with another one and so probes it. */
  gossipMs: 1000,
  /** Partners of a round when there is news, and exchanges under way at once. */
  gossipPartners: 3,
  gossipsUnderWayMax: 16,
  /** Members in one comparison (all), members in one of tables that are not complete, records. */
  entriesPerMessageMax: 2048,
  partialEntriesMax: 256,
  recordsPerMessageMax: 200,
  /** Time for a sign of life; then others are asked, so many, and so many ask for others here. */
  probeMsMax: 1000,
  probeRelays: 3,
  relaysUnderWayMax: 64,
  /** How long a suspect may take to answer before it counts as dead. */
  suspectMs: 10_000,
  /** When the dead and those who left are forgotten. */
  deadMemberMs: 7 * 24 * 3600 * 1000,
  leftMemberMs: 24 * 3600 * 1000,
  /** How far the clock of a member may be ahead; its incarnation begins as a time. */
  incarnationAheadMsMax: 24 * 3600 * 1000,
  /** Pause between tries of the seeds while nobody is known, doubled up to this. */
  seedPauseMsMax: 30_000,
  /** Seeds in one of these tries; remembered peers may be many. */
  seedsPerTryMax: 16,
  /** Announcements on the local network: how often, and how old one may be. */
  beaconMs: 5000,
  beaconWindowMs: 60_000,
  /** Nodes whose latest announcement is remembered, and announcements followed at once. */
  beaconSendersMax: 4096,
  beaconDialsMax: 4,
  /** Filesystems and stores that a node tells the others of, and all that it says of them. */
  disksPerNodeMax: 256,
  diskListBytesMax: 64 * KiB,
  /** What a node keeps of such lists of others. */
  diskListsBytesMax: 16 * MiB,
  /** Chunks up to this travel between nodes inside a call, larger ones as a stream. */
  inlineChunkBytesMax: 64 * KiB,
  /** Time for a store, here or elsewhere, to do a small thing; then another takes its place. */
  storeAnswerMs: 20_000,
  /** Time for a store to say what it has, when a read looks for a shard in all of them. */
  storeLookMs: 2000,
  /** Time for another node to do a small thing; moving bytes may take so much longer. */
  remoteCallMs: 10_000,
  remoteBytesPerSecondMin: 1_000_000,
  /** Chunk operations that are asked of one peer at once, and of each of its stores. */
  callsPerPeerMax: 96,
  callsPerStoreMax: 64,
  /** Time during which a store may refuse a call because it is busy; then it counts as hanging. */
  storeBusyMs: 60_000,
  /** Chunk operations of one peer that are served at once, and of all peers on one store. */
  servedPerPeerMax: 256,
  servedPerStoreMax: 1024,
  /** Runs of repair (scrub, health, ...) that one peer may have under way at the home. */
  servedRunsPerPeerMax: 4,
  /** Memory for chunks that are on their way to or from peers: of one peer, and of all. */
  servedBytesPerPeerMax: 64 * MiB,
  servedBytesMax: 256 * MiB,
  /** Answer of the metadata plane that is too long for a message: 500,000 records and more. */
  metadataAnswerBytesMax: 64 * MiB,
  /** The name that its owner gives a node: a host name fits. */
  nodeNameCharsMax: 63,
  /** Invitations that have not expired; each was made by a person. */
  invitationsMax: 64,
  /** An invitation is a key that lies about: it ends by itself. */
  invitationLifeMsMax: 30 * 24 * 3600 * 1000,
  /** Nodes that were ever removed; the list is one record of 24 bytes each. */
  revocationsMax: 10_000,
  /** How often a node looks at the list of those that were removed, when nobody tells it. */
  revocationCheckMs: 5000,
  /** Time without a sign of life after which a session of a mount is over. */
  sessionLeaseMs: 30_000,
  /** Sessions that one cell knows; each is a row and a few hundred bytes. */
  sessionsPerCellMax: 4096,
  /** How often a steward looks for sessions that are over and places in line that are given up. */
  handleTickMs: 1000,
  /** Locks on one inode, looked through by each request. */
  locksPerInodeMax: 1024,
  /** Requests that wait for a lock at one cell. */
  lockWaitersMax: 1024,
  /**
   * The longest single wait at a steward, for a lock or a recall: shorter than the time after which
   * a client tries another node. Who wants to wait on asks again.
   */
  handleWaitMsMax: 800,
  /** How long a place in line is kept for who does not ask again. */
  lockPlaceMs: 5000,
  /**
   * Time for a mount to bring what it did under a directory lease; then it loses the lease. One
   * that says meanwhile that it is bringing has that time again, up to the second limit in all:
   * less than whoever waits for the directory is patient (remoteCallMs).
   */
  leaseRecallMs: 5000,
  leaseReturnMsMax: 8000,
  /** A directory that others asked for is not leased again for so long. */
  leaseAgainMs: 30_000,
  /**
   * Steps of a batch under directory leases: 4 KiB of rows each fit an entry, their results a row.
   */
  batchStepsMax: 256,
  /** How much earlier than it is brought a step of a batch may have been done. */
  stepAgeMsMax: 60_000,
  /** Directory leases that one batch goes by. */
  batchLeasesMax: 256,
  /** Directories that a node holds at once, and entries of them that it keeps in memory. */
  heldDirectoriesMax: 1000,
  heldEntriesMax: 200_000,
  /** A directory that nobody works in is returned after so long. */
  heldIdleMs: 30_000,
  /** How old the status of what is in a held directory may be when it is told to who stats it. */
  heldStatusMsMax: 3000,
  /** How old a listing may be when it is told to who only looks, where nobody holds a directory. */
  glanceMs: 1000,
  /** Whoever pauses for so long is not told of that listing any more. */
  glancePauseMs: 100,
  /** How long a kernel may remember names of a held directory: it is returned no sooner. */
  heldMemoryMs: 250,
  /** Steps that wait to be brought, how long the first of them waits, and how long at the end. */
  heldStepsMax: 4096,
  heldStepMsMax: 500,
  heldEndMsMax: 30_000,
  /**
   * Files that are closed before they are stored: how many, for how long, how many are stored at
   * once, and how much may be dirty of each.
   */
  deferredClosesMax: 2048,
  deferredCloseMs: 100,
  deferredClosesAtOnce: 128,
  deferredBytesMax: 1 * MiB,
  /** Inode numbers that come with a directory lease. */
  leasedInodesMax: 65_536,
  /** How often a steward lets go of orphans and of parts of uploads that are over. */
  housekeepingMs: 60_000,
  /** Content of one read or write of a mount; the most that Linux does in one request. */
  mountDataBytesMax: 1 * MiB,
  /** Requests of a mount that lie in memory until they are answered; others wait in the kernel. */
  mountSlotsMax: 64,
  /** Time for a mount that was taken away to end; then another mount namespace holds it. */
  mountEndMs: 2000,
  /** How often a mount looks for requests that are late or whose callers are being killed. */
  mountTickMs: 250,
  /** For how long after a request a mount looks for the next one before it sleeps. */
  mountLookMs: 2,
  /** Time for a request to a mount: its caller cannot go on, nor be killed, without an answer. */
  mountRequestMs: 60_000,
  /** Files up to this are stored whole beside their inode, which has the tolerance of copies. */
  inlineBytesMax: 4 * KiB,
  /** Pause before what one file has left loose since is let go of, too. */
  looseReleaseMs: 500,
  /** Bytes written to open files of a volume that are in no stripe yet; who writes more waits. */
  dirtyBytesMax: 128 * MiB,
  /** Age at which they become content though nobody asked for it. */
  dirtyAgeMsMax: 5000,
  /** Commits that one open file has under way. */
  fileCommitsMax: 2,
  /** Opened stripes, or parts, that a volume keeps for readers of files. */
  openedBytesMax: 128 * MiB,
  /** Bytes that a sequential reader of a file is ahead of what was asked for. */
  readAheadBytesMax: 24 * MiB,
  /** Extents in a stripe's worth of a file; with more they are written as one again. */
  extentsPerWindowMax: 64,
  /** Files that nobody has open whose extents are remembered, and those extents. */
  closedFilesMax: 1024,
  closedExtentsMax: 100_000,
  /** After a write was refused for want of space it is not tried again for so long. */
  refusedWriteMs: 1000,
  /** How long writes wait while nothing can be stored for reasons that may pass, and the pause. */
  stuckWriteMsMax: 30_000,
  stuckWritePauseMs: 500,
  /** How long who syncs or closes a file waits for stores that are away; below mountRequestMs. */
  syncPatienceMs: 45_000,
} as const;
