/** The table of operations by opcode. What is not in it is answered by ENOSYS. */
import { OPCODE_LIMIT, OPCODES, type OpcodeName } from '../protocol/opcodes.ts';
import { ATTRIBUTE_OPERATIONS } from './attribute-operations.ts';
import { DIRECTORY_OPERATIONS } from './directory-operations.ts';
import { FILE_OPERATIONS } from './file-operations.ts';
import { LOCK_OPERATIONS } from './lock-operations.ts';
import { NAME_OPERATIONS } from './name-operations.ts';
import type { Operation } from './operation.ts';

/** Those that are about the session itself; `session.ts` has them. */
type SessionOpcode = 'init' | 'forget' | 'batchForget' | 'interrupt' | 'destroy';

const BY_NAME: Readonly<Record<Exclude<OpcodeName, SessionOpcode>, Operation>> = {
  ...NAME_OPERATIONS,
  ...ATTRIBUTE_OPERATIONS,
  ...FILE_OPERATIONS,
  ...DIRECTORY_OPERATIONS,
  ...LOCK_OPERATIONS,
};

export const OPERATIONS: readonly (Operation | undefined)[] = byOpcode();

function byOpcode(): (Operation | undefined)[] {
  const table = Array.from({ length: OPCODE_LIMIT }, (): Operation | undefined => undefined);
  for (const [name, operation] of Object.entries(BY_NAME)) {
    table[OPCODES[name as OpcodeName]] = operation;
  }
  return table;
}
