/** What the thread of a relayed mount loads: its file system is the reader's side of the relay. */
import { parentPort } from 'node:worker_threads';
import { assert } from '../../base/index.ts';
import { type Log, realEnv } from '../../env/index.ts';
import type { FileSystemModule } from '../mounting/mount-order.ts';
import { type HostMessage, isRelayed } from './messages.ts';
import { type PostToHost, RelayReader } from './reader.ts';

export const openFileSystem: FileSystemModule['openFileSystem'] = async () => {
  const port = parentPort;
  assert(port, 'this module runs in a worker thread');
  const post: PostToHost = (message, handedOver) => port.postMessage(message, handedOver);
  const reader = new RelayReader(post);
  port.on('message', (message: HostMessage) => {
    if (isRelayed(message)) reader.hear(message);
  });
  return {
    env: realEnv({ log: logAt(post) }),
    fileSystem: reader.fileSystem,
    async [Symbol.asyncDispose]() {},
  };
};

/** What matters is written down by the host. */
function logAt(post: PostToHost): Log {
  const tell =
    (level: 'warn' | 'error'): Log['warn'] =>
    (message, fields) =>
      post({ relay: 'log', level, message, reason: JSON.stringify(fields ?? {}) });
  return { debug: () => {}, info: () => {}, warn: tell('warn'), error: tell('error') };
}
