/**
 * Aim: whoever sees the socket of a node may take the node for started. Method: a node that may not
 * have the port it was told; the folder of its socket is watched meanwhile.
 */
import { once } from 'node:events';
import fs from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { MemoryParts } from '../../test/control/memory-parts.ts';
import { realEnv } from '../env/index.ts';
import { serveAdmin } from './index.ts';

it('has no socket, not even for a moment, when the port is taken', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-admin-'));
  const other = net.createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const seen: (string | null)[] = [];
  const watcher = fs.watch(folder, (_, name) => seen.push(name));
  const { port } = other.address() as AddressInfo;
  const tcp = { host: '127.0.0.1', port, token: 'ab'.repeat(32) };
  const socketPath = path.join(folder, 'socket');
  const serve = serveAdmin({ parts: new MemoryParts(folder), socketPath, tcp, env: realEnv() });
  await expect(serve).rejects.toThrow(/in use by another program/);
  fs.writeFileSync(path.join(folder, 'last'), '');
  await expect.poll(() => seen, { timeout: 20_000 }).toContain('last');
  expect(seen).not.toContain('socket');
  watcher.close();
  other.close();
  fs.rmSync(folder, { recursive: true });
});
