/**
 * Aim: what a user says of a node is checked, kept, and adds to what was said before; addresses are
 * such that others can use them. Method: pure functions; ports against real sockets.
 */
import { once } from 'node:events';
import net from 'node:net';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { errorCode, type NodeId } from '../base/index.ts';
import { formatAddress, parseAddress } from '../net/index.ts';
import {
  changedConfig,
  defaultConfig,
  deviceLabels,
  gossipLabels,
  listensToOthers,
  reachableAt,
  StoredConfig,
  withPorts,
} from './node-config.ts';

const ALONE = defaultConfig('host');
const NODE = '0a'.repeat(16) as NodeId;

describe('what is said', () => {
  it('stays until something else is said', () => {
    const first = changedConfig(ALONE, { listen: ['tls://0.0.0.0:1'], labels: { rack: 'r1' } });
    const second = changedConfig(first, {
      name: 'berlin-2',
      labels: { zone: 'z', rack: undefined },
    });
    expect(second).toEqual({
      ...ALONE,
      listen: ['tls://0.0.0.0:1'],
      name: 'berlin-2',
      labels: { rack: 'r1', zone: 'z' },
    });
    expect(gossipLabels(second, { homeGeneration: 2 })).toEqual({
      rack: 'r1',
      zone: 'z',
      name: 'berlin-2',
      home: '2',
    });
    const claims = { registryGeneration: 3, isLocal: true };
    expect(gossipLabels(second, claims)).toMatchObject({ meta: '3', engine: 'local' });
    expect(deviceLabels(second, NODE)).toEqual(['default', 'default', 'z', 'r1', NODE]);
  });

  it.each([
    { listen: ['10.0.0.1:7450'] },
    { listen: Array.from({ length: 9 }, (_, port) => `tls://0.0.0.0:${port + 1}`) },
    { advertise: ['tls://x'] },
    { name: 'a b' },
    { name: 'x'.repeat(64) },
    { labels: { rack: 'r 1' } },
    { labels: { rack: '' } },
  ])('is refused: %j', (changes) => {
    expect(() => changedConfig(ALONE, changes)).toThrow(
      expect.objectContaining({ code: 'HF_BAD_ARGUMENT' }),
    );
  });

  it('is read as it was written before disks were told of', () => {
    const { disks: _, ...before } = { version: 1, ...ALONE };
    expect(v.parse(StoredConfig, before)).toEqual({ ...before, disks: true });
  });

  it('any host name becomes a name', () => {
    for (const host of ['a.example.org', 'Büro 3', '', 'x'.repeat(300)]) {
      expect(() => changedConfig(defaultConfig(host), {})).not.toThrow();
    }
  });
});

describe('where others reach a node', () => {
  const at = (listen: readonly string[], advertise: readonly string[] = []) => {
    const config = { ...ALONE, listen: [...listen], advertise: [...advertise] };
    return reachableAt(config, ['10.0.0.7', '2001:db8::7', '172.17.0.1']).map(formatAddress);
  };

  it('is where it listens, by all interfaces when it listens on all', () => {
    expect(at(['tls://192.0.2.1:7'])).toEqual(['tls://192.0.2.1:7']);
    expect(at(['tls://0.0.0.0:7'])).toEqual(['tls://10.0.0.7:7', 'tls://172.17.0.1:7']);
    expect(at(['wss://[::]:8/hf', 'tls://0.0.0.0:7'])).toEqual([
      'wss://10.0.0.7:8/hf',
      'wss://[2001:db8::7]:8/hf',
      'wss://172.17.0.1:8/hf',
      'tls://10.0.0.7:7',
      'tls://172.17.0.1:7',
    ]);
  });

  it('is what the user says, when he does', () => {
    expect(at(['tls://0.0.0.0:7'], ['tls://example.org:9'])).toEqual(['tls://example.org:9']);
  });

  it('needs no beacon when nobody else can connect', () => {
    for (const host of ['127.0.0.1', '[::1]', 'localhost', '127.1.2.3']) {
      expect(listensToOthers({ ...ALONE, listen: [`tls://${host}:7`] })).toBe(false);
    }
    expect(listensToOthers({ ...ALONE, listen: ['tls://127.0.0.1:7', 'tls://0.0.0.0:7'] })).toBe(
      true,
    );
    expect(listensToOthers(ALONE)).toBe(false);
  });
});

describe('ports', () => {
  it('0 becomes a free one; one that is taken only where it may move', async () => {
    const server = net.createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const taken = `tls://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
    const [free] = await withPorts(['tls://127.0.0.1:0']);
    expect(parseAddress(free!).port).toBeGreaterThan(0);
    expect(await withPorts([taken])).toEqual([taken]);
    expect(await withPorts([taken], { mayMove: true })).not.toEqual([taken]);
    server.close();
    const nowhere = withPorts(['tls://192.0.2.200:0']).catch(errorCode);
    expect(await nowhere).toBe('HF_UNAVAILABLE');
  });
});
