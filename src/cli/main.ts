/**
 * The command line: from arguments to an exit code. Errors are one line on standard error, with
 * `--json` one object; the exit code comes from the table of error codes.
 */
import { CommanderError } from 'commander';
import { ERROR_CODES, errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import { dataCountArguments } from './chunk-commands.ts';
import { type Io, processIo } from './io.ts';
import { buildProgram } from './program.ts';
import { isBrokenPipe, Session, writeTo } from './session.ts';
import type { Run } from './verbs.ts';

/** What a shell shows for a process that SIGPIPE ended. */
const BROKEN_PIPE_EXIT_CODE = 141;

const OUR_FAULT = '(a fault of Holdfast: please report it)';

/** Runs one command. @returns its exit code; it prints what there is to say itself. */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  // A reader who goes is dealt with where we write; without a listener it would end the process.
  io.stdout.on('error', () => {});
  io.stderr.on('error', () => {});
  let exitCode = 0;
  const run: Run = async (options, work) => {
    using session = new Session(io, options);
    try {
      exitCode = (await work(session)) ?? 0;
      await writeTo(io.stdout, '');
    } catch (error) {
      throw session.signal.aborted ? stopReason(session.signal, error) : error;
    }
  };
  try {
    await buildProgram(io, run).parseAsync(dataCountArguments(argv), { from: 'user' });
    return exitCode;
  } catch (error) {
    return report(io, error, argv.includes('--json'));
  }
}

/** Why a command stopped that was told to. */
function stopReason(signal: AbortSignal, error: unknown): unknown {
  if (isBrokenPipe(signal.reason)) return signal.reason;
  const isOther = errorCode(error) !== undefined && errorCode(error) !== 'HF_INTERRUPTED';
  return isOther ? error : new HoldfastError('HF_INTERRUPTED', 'interrupted');
}

/** Says what went wrong. @returns the exit code. */
function report(io: Io, error: unknown, isJson: boolean): number {
  if (isBrokenPipe(error)) return BROKEN_PIPE_EXIT_CODE;
  const { code, message, exitCode } = translate(error);
  if (exitCode === 0) return 0;
  const line = message.replace(/\s*\n\s*/g, ' ');
  const text = isJson ? JSON.stringify({ error: { code, message: line } }) : `holdfast: ${line}`;
  io.stderr.write(`${text}\n`);
  return exitCode;
}

interface Translation {
  readonly code: string;
  readonly message: string;
  readonly exitCode: number;
}

function translate(error: unknown): Translation {
  if (error instanceof CommanderError) return translateUsage(error);
  const code = errorCode(error) ?? systemCode(error) ?? 'HF_INTERNAL';
  const message = errorMessage(error);
  // A node that could not start has said so itself.
  const isOurFault = code === 'HF_INTERNAL' && !message.endsWith(OUR_FAULT);
  return {
    code,
    message: isOurFault ? `${message} ${OUR_FAULT}` : message,
    exitCode: ERROR_CODES[code].exitCode,
  };
}

/** Help and version have been printed when commander throws them. */
function translateUsage({ code, message, exitCode }: CommanderError): Translation {
  const isHelp = code === 'commander.help';
  return {
    code: 'HF_BAD_ARGUMENT',
    message: isHelp ? 'name a command' : message.replace(/^error: /, ''),
    exitCode: exitCode === 0 ? 0 : ERROR_CODES.HF_BAD_ARGUMENT.exitCode,
  };
}

/** Files of the user that cannot be read or written. */
function systemCode(error: unknown): keyof typeof ERROR_CODES | undefined {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (syscall === undefined) return undefined;
  switch (code ?? '') {
    case 'ENOENT':
      return 'HF_NOT_FOUND';
    case 'EEXIST':
      return 'HF_EXISTS';
    case 'EISDIR':
      return 'HF_IS_DIRECTORY';
    case 'ENOTDIR':
      return 'HF_NOT_DIRECTORY';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'HF_DENIED';
    case 'ENOSPC':
    case 'EDQUOT':
      return 'HF_NO_SPACE';
    default:
      return 'HF_IO';
  }
}
