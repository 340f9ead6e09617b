/** A worker thread that codes the stripes lying in shared slots. */
import { serveRequests } from '../env/index.ts';
import {
  type CodingRequest,
  type CodingResult,
  type CodingWorkerData,
  runCoding,
  workerMemory,
} from './coder.ts';

serveRequests<CodingRequest, CodingResult>((data) => {
  const start = data as CodingWorkerData;
  const memory = workerMemory(start);
  return (request) => runCoding(start.plan, memory, request);
});
