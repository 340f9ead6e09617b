/** Requests against their schemas: what came is what was meant, or one line says what is wrong. */
import * as v from 'valibot';
import { HoldfastError } from '../base/index.ts';

/** @throws HF_BAD_ARGUMENT. */
export function checked<Schema extends v.GenericSchema>(
  schema: Schema,
  input: unknown,
): v.InferOutput<Schema> {
  const { success, output, issues } = v.safeParse(schema, input);
  if (success) return output;
  const lines = issues.map((issue) => {
    const path = v.getDotPath(issue);
    return path === null ? issue.message : `${path}: ${issue.message}`;
  });
  throw new HoldfastError('HF_BAD_ARGUMENT', lines.join('; '));
}
