/**
 * Serves a mount in the thread that calls. That thread belongs to the mount from then on
 * (`session/` says when it sleeps), so it is a worker (`mounting/open-mount.ts`), unless another
 * thread reads the requests (`pump/`).
 */
import type { Env } from '../env/index.ts';
import { LIMITS } from '../base/index.ts';
import { ERRNO } from './errno.ts';
import type { FileSystem } from './file-system.ts';
import { KernelDevice } from './session/device.ts';
import { isDying } from './session/dying.ts';
import { Session } from './session/session.ts';
import type { RequestSource } from './session/slots.ts';

export interface ServeOptions {
  readonly env: Env;
  /** /dev/fuse, mounted; closed at the end. */
  readonly descriptor: number;
  readonly fileSystem: FileSystem;
  /** Of `newWake`. */
  readonly wake?: SharedArrayBuffer | undefined;
  readonly behaviour?: ServeBehaviour | undefined;
  /** When another thread reads. */
  readonly source?: RequestSource | undefined;
}

export interface ServeBehaviour {
  /**
   * Small writes are gathered in the kernel and arrive later; close(2) and fsync(2) bring them. The
   * kernel is the master of size and times meanwhile, and reads from files opened only for writing.
   */
  readonly writebackCache?: boolean;
  /** Time for one request, in which the caller cannot go on; not for locks. */
  readonly requestMs?: number;
  /** What it is told then. */
  readonly lateError?: 'EIO' | 'ETIMEDOUT';
}

export interface Serving {
  /** @throws HF_UNSUPPORTED when the kernel is too old. */
  readonly ready: Promise<void>;
  /** Resolves when the mount is gone, however that came. @throws HF_IO; our own faults. */
  readonly ended: Promise<void>;
}

export function serveMount(options: ServeOptions): Serving {
  const { env, descriptor, fileSystem, wake, source, behaviour = {} } = options;
  const session = new Session({
    env,
    device: new KernelDevice(descriptor),
    fileSystem,
    wishes: {
      writebackCache: behaviour.writebackCache ?? false,
      locks: fileSystem.locks !== undefined,
      acls: fileSystem.keepsAcls === true,
    },
    patience: {
      deadlineMs: behaviour.requestMs ?? LIMITS.mountRequestMs,
      deadlineErrno: ERRNO[behaviour.lateError ?? 'ETIMEDOUT'],
      isDying,
    },
    wake: wake && new Int32Array(wake),
    source,
  });
  const ended = session.run();
  return { ready: session.ready.then(() => undefined), ended };
}
