/**
 * A lock that the kernel lets go of when its holder dies: an abstract Unix socket that listens and
 * serves nobody. A second listener on the name is refused, in this process as well. It reaches as
 * far as the network namespace; between containers that share a disk it does not help.
 */
import { once } from 'node:events';
import net from 'node:net';
import { HoldfastError } from '../base/index.ts';

/**
 * @param name of the lock; `what` names what is locked, for people, `by` who mostly has it.
 * @returns the lock; disposing gives it back.
 * @throws HF_BUSY when somebody holds it.
 */
export async function holdLock(name: string, what: string, by = ''): Promise<AsyncDisposable> {
  const server = net.createServer((socket) => socket.destroy());
  try {
    server.listen({ path: `\0holdfast-${name}`, exclusive: true });
    await once(server, 'listening');
  } catch (error) {
    const isHeld = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    const message = isHeld
      ? `${what} is in use already${by && `: ${by}`}`
      : `${what} cannot be locked`;
    throw new HoldfastError(isHeld ? 'HF_BUSY' : 'HF_IO', message, { cause: error });
  }
  server.unref();
  return server;
}
