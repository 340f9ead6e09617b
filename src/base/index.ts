/** Words without effects that every module uses. */
export { assert, AssertionError, unreachable } from './assert.ts';
export {
  asBuffer,
  bytesEqual,
  compareBytes,
  concatBytes,
  fromHex,
  fromUtf8,
  GiB,
  keyText,
  KiB,
  MiB,
  roundUp,
  toHex,
  utf8,
} from './bytes.ts';
export {
  batchesOf,
  KeyedLock,
  mapBounded,
  Mutex,
  Semaphore,
  throwIfAborted,
  UnderWay,
} from './concurrency.ts';
export { ByteReader, ByteWriter } from './encoding.ts';
export { ERROR_CODES, type ErrorCode, type ErrorEntry, type Retry } from './error-codes.ts';
export {
  errorCode,
  errorMessage,
  HoldfastError,
  type ErrorDetails,
  unlessBug,
  NOT_NEEDED,
} from './errors.ts';
export {
  CHUNK_ID_BYTES,
  chunkId,
  chunkIdParts,
  GROUP_COUNT,
  groupOf,
  hexId,
  isAddress,
  isHexId,
  METADATA_GROUP,
  metadataChunkId,
  type PartPlace,
  partPlaceOf,
  partSiblingId,
  partShardId,
  STRIPE_ID_BYTES,
  stripeId,
  type Address,
  type ChunkId,
  type ChunkIdParts,
  type ClusterId,
  type DeviceId,
  type NodeId,
  type ObjectId,
  type StripeId,
  type VolumeId,
} from './ids.ts';
export { LIMITS } from './limits.ts';
export { remember } from './remember.ts';
export {
  formatPolicy,
  isSamePolicy,
  neededWidthOf,
  parsePolicy,
  type Policy,
  policyNumbers,
  policyOfNumbers,
  readingOrder,
  widthOf,
} from './policy.ts';
export {
  formatScheme,
  isMetadataScheme,
  isPoolMetadataScheme,
  METADATA_LIST_SCHEME_NUMBER,
  METADATA_PART_SCHEME_NUMBER,
  METADATA_SHARD_SCHEME_NUMBER,
  METADATA_SCHEME_NUMBER,
  parseScheme,
  SHARDS_MAX,
  schemeNumber,
  schemeOfNumber,
  toleranceOf,
  type Scheme,
  type SchemeKind,
} from './scheme.ts';
export { firstWhere } from './search.ts';
export { beginXxh64, xxh64, type Xxh64Sum } from './xxh64.ts';
