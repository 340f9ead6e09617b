/** Programs of the system that look at disks for us, blkid(8) above all. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { HoldfastError, LIMITS } from '../base/index.ts';

const run = promisify(execFile);

/** A plain environment: messages in English, and no paths of the user's. */
export const TOOL_ENVIRONMENT = { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

/**
 * What a program prints when it looks at something. One that hangs with the disk cannot even be
 * killed, so its end is not waited for.
 * @throws HF_IO when it takes too long; what execFile throws.
 */
export async function outputOf(
  tool: string,
  words: readonly string[],
  msMax: number = LIMITS.diskLookMsMax,
): Promise<string> {
  const signal = AbortSignal.timeout(msMax);
  const options = { env: TOOL_ENVIRONMENT, signal, killSignal: 'SIGKILL' } as const;
  try {
    return (await run(tool, words, options)).stdout;
  } catch (error) {
    if (!signal.aborted) throw error;
    const message = `${tool} ${words.at(-1)} has not answered in ${msMax} ms`;
    throw new HoldfastError('HF_IO', message, { cause: error });
  }
}
