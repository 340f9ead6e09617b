/**
 * Failures of what runs operations: the log, snapshots, the database. None of them may be taken for
 * what an operation answers, as an entry of the log that is not found for a name that is not found.
 */
import { errorCode, errorMessage, HoldfastError } from '../../base/index.ts';

/** Said by whoever does not run an operation, and by no operation. */
const UNMISTAKABLE: ReadonlySet<string> = new Set([
  'HF_CLOSED',
  'HF_FENCED',
  'HF_IO',
  'HF_NOT_STEWARD',
  'HF_TIMEOUT',
  'HF_TOO_FEW_STORES',
  'HF_UNAVAILABLE',
  'HF_UNKNOWN_OUTCOME',
]);

/** What the work resolves to. @throws HF_UNAVAILABLE for what could be taken for an answer. */
export async function asUnavailable<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined || UNMISTAKABLE.has(code)) throw error; // no code: a bug
    const message = `the cell cannot be served: ${errorMessage(error)}`;
    throw new HoldfastError('HF_UNAVAILABLE', message, { cause: error });
  }
}
