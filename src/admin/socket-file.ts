/**
 * The socket file of the control interface. One that a dead node left behind is replaced; one on
 * which somebody answers never is.
 */
import fs from 'node:fs/promises';
import type { Server } from 'node:http';
import net from 'node:net';
import { HoldfastError } from '../base/index.ts';

/** Longest path of a Unix socket on Linux, without its final zero byte (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;

/** @throws HF_BUSY when a node answers there; HF_EXISTS when it is no socket; HF_BAD_ARGUMENT. */
export async function listenOnSocket(server: Server, socketPath: string): Promise<void> {
  const pathBytes = Buffer.byteLength(socketPath);
  if (pathBytes > SOCKET_PATH_BYTES_MAX) {
    throw new HoldfastError(
      'HF_BAD_ARGUMENT',
      `the path of the socket ${socketPath} has ${pathBytes} bytes, and may have ` +
        `${SOCKET_PATH_BYTES_MAX}: choose a data directory with a shorter path`,
    );
  }
  await removeStale(socketPath);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? busy(socketPath) : listenProblem(socketPath, error)),
    );
    server.listen(socketPath, resolve);
  });
  await fs.chmod(socketPath, 0o600);
}

async function removeStale(socketPath: string): Promise<void> {
  const found = await fs.lstat(socketPath).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw listenProblem(socketPath, error);
  });
  if (!found) return;
  if (!found.isSocket()) {
    throw new HoldfastError('HF_EXISTS', `${socketPath} is in the way and is no socket`);
  }
  if (await isAnswering(socketPath)) throw busy(socketPath);
  await fs.rm(socketPath, { force: true });
}

function isAnswering(socketPath: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(listenProblem(socketPath, error));
    });
  });
}

function busy(socketPath: string): HoldfastError {
  return new HoldfastError('HF_BUSY', `a node answers on ${socketPath} already`);
}

function listenProblem(socketPath: string, cause: Error): HoldfastError {
  const message = `cannot listen on ${socketPath}: ${cause.message}`;
  return new HoldfastError('HF_IO', message, { cause });
}
