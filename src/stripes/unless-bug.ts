/**
 * For failures that may be: of a store that is going, of bytes that are damaged. Whatever has no
 * code is a bug of ours, and goes on.
 */
import { errorCode } from '../base/index.ts';

export function unlessBug(error: unknown): undefined {
  if (errorCode(error) === undefined) throw error;
}
