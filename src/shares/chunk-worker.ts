/** A thread that codes the stripes of chunk files lying in shared slots. */
import { serveRequests } from '../env/index.ts';
import {
  type ChunkCodingRequest,
  type ChunkCodingResult,
  ChunkStripeCoding,
} from './chunk-coding.ts';
import type { ChunkThreadData } from './chunk-coder.ts';
import { codecMemory } from './chunk-memory.ts';

serveRequests<ChunkCodingRequest, ChunkCodingResult>((data) => {
  const { plan, nextThread } = data as ChunkThreadData;
  const threadIndex = Atomics.add(new Int32Array(nextThread), 0, 1);
  const coding = new ChunkStripeCoding(plan, codecMemory(plan.slab, threadIndex));
  return (request) => coding.run(request);
});
