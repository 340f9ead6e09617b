/** The daemon's log: lines of JSON in a file of the data directory. */
import { pino } from 'pino';
import { errorCode, errorMessage } from '../base/index.ts';
import type { Log, LogFields } from '../env/index.ts';

export function fileLog(path: string): Log & AsyncDisposable {
  const destination = pino.destination({ dest: path, mkdir: true, mode: 0o600, sync: false });
  const logger = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return {
    debug: (message, fields) => logger.debug(plain(fields), message),
    info: (message, fields) => logger.info(plain(fields), message),
    warn: (message, fields) => logger.warn(plain(fields), message),
    error: (message, fields) => logger.error(plain(fields), message),
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => logger.flush(() => resolve()));
    },
  };
}

/** Errors as code and message. */
function plain(fields: LogFields = {}): LogFields {
  if (!('error' in fields)) return fields;
  const { error } = fields as { error: unknown };
  return { ...fields, error: `${errorCode(error) ?? 'unexpected'}: ${errorMessage(error)}` };
}
