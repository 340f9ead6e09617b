/** A node in the background: `up` in a process of its own that outlives the command. */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { ErrorView } from '../api/index.ts';
import { errorCode, HoldfastError } from '../base/index.ts';
import type { Session } from './session.ts';

/** What the node prints, in its data directory. */
const OUTPUT_NAME = 'holdfast.out';

const LOOK_MS = 50;

export interface BackgroundNode {
  readonly processId: number;
  readonly dataPath: string;
  readonly outputPath: string;
}

/**
 * Starts a node and waits until it answers.
 * @param flags of `up`.
 * @throws what kept it from starting, as the node says it.
 */
export async function startInBackground(
  session: Session,
  flags: readonly string[],
): Promise<BackgroundNode> {
  const { dataPath, io } = session;
  await fs.mkdir(dataPath, { recursive: true, mode: 0o700 });
  const outputPath = path.join(dataPath, OUTPUT_NAME);
  const { size: from } = await fs.stat(outputPath).catch(() => ({ size: 0 }));
  const up = ['up', '--json', '--data', dataPath, ...flags];
  const { processId, ended } = await io.startDetached(up, outputPath);
  let hasEnded = false;
  void ended.finally(() => (hasEnded = true));
  using _slow = session.sayWhenSlow(
    'the node starts: it opens its stores, and looks for its home …',
  );
  while (!(await isAnswering(session, processId))) {
    if (hasEnded) throw await failureOf(outputPath, from);
    await io.clock.sleep(LOOK_MS, session);
  }
  return { processId, dataPath, outputPath };
}

/** Whether this very process answers: another node may be running there. */
async function isAnswering({ client, signal }: Session, processId: number): Promise<boolean> {
  try {
    return (await client.call('status', {}, { signal })).processId === processId;
  } catch (error) {
    const code = errorCode(error);
    if (code === 'HF_NOT_RUNNING' || code === 'HF_UNKNOWN_OUTCOME') return false;
    throw error;
  }
}

/** The error that a command with `--json` prints at last. */
async function failureOf(outputPath: string, from: number): Promise<HoldfastError> {
  const output = await fs.readFile(outputPath);
  const last = output.subarray(from).toString('utf8').trimEnd().split('\n').at(-1) ?? '';
  try {
    const { code, message } = (JSON.parse(last) as { error: ErrorView }).error;
    return new HoldfastError(errorCode({ code }) ?? 'HF_INTERNAL', message);
  } catch (error) {
    const message = `the node has ended: see ${outputPath}`;
    return new HoldfastError('HF_NOT_RUNNING', message, { cause: error });
  }
}
