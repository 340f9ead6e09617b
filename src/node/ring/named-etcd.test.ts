/**
 * Aim: an etcd that the user names is found, over TLS as well, and what is no address is refused.
 * Method: a real etcd on loopback where one is installed (else skipped, and said so), a TLS server
 * with a certificate of its own.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import { EtcdBed, findEtcd } from '../../../test/suites/etcd-bed.ts';
import { errorCode, utf8 } from '../../base/index.ts';
import { realEnv } from '../../env/index.ts';
import { EtcdConnection } from '../../log/index.ts';
import { decodeNamedEtcd, dialsOf, encodeNamedEtcd } from './named-etcd.ts';

const binary = findEtcd();
if (!binary) console.warn('SKIPPED: a named etcd; install etcd-server (3.4–3.6)');
const hasOpenssl = (() => {
  try {
    return execFileSync('openssl', ['version']).length > 0;
  } catch {
    return false;
  }
})();
if (!hasOpenssl) console.warn('SKIPPED: a named etcd over TLS; install openssl');

function codeOf(text: string): unknown {
  try {
    return decodeNamedEtcd(utf8(text));
  } catch (error) {
    return errorCode(error);
  }
}

describe('a named etcd', () => {
  it('comes back as it was written; what is none is refused', () => {
    const etcd = { endpoints: ['https://a:2379', 'http://[::1]'], authorityFile: '/ca.pem' };
    expect(decodeNamedEtcd(encodeNamedEtcd(etcd))).toEqual(etcd);
    const wrong = ['ftp://a', 'a:2379', 'http://a/v3', 'http://u@a', 'http://a?b', ''];
    for (const endpoint of wrong) {
      const text = JSON.stringify({ format: 1, endpoints: [endpoint] });
      expect([endpoint, codeOf(text)]).toEqual([endpoint, 'HF_BAD_ARGUMENT']);
    }
    for (const text of ['', '{}', '{"format":1,"endpoints":[]}']) {
      expect(codeOf(text)).toBe('HF_BAD_ARGUMENT');
    }
  });

  it('needs files that can be read, and somebody who answers', async () => {
    const missing = { endpoints: ['https://a'], keyFile: '/no/such/file' };
    expect(await dialsOf(missing).catch(errorCode)).toBe('HF_NOT_FOUND');
    const [dial] = await dialsOf({ endpoints: ['http://127.0.0.1:1'] });
    expect(await dial!().catch(errorCode)).toBe('HF_UNAVAILABLE');
  });

  it.skipIf(!binary)('answers on its port', async () => {
    await using bed = await EtcdBed.open(binary!, 1);
    const [{ options }] = bed.members as [(typeof bed.members)[0]];
    const members = await dialsOf({ endpoints: [options.listenClientUrl] });
    await using connection = new EtcdConnection({ members, clock: realEnv().clock });
    const count = { do: 'count', key: utf8('a') } as const;
    const { areMet } = await connection.transact({ conditions: [], ifMet: [count], ifNot: [] });
    expect(areMet).toBe(true);
  });

  it.skipIf(!hasOpenssl)('is known by its certificate, and speaks HTTP/2', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-named-'));
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    execFileSync(
      'openssl',
      [
        ...'req -x509 -nodes -newkey ed25519 -subj /CN=etcd'.split(' '),
        '-addext',
        'subjectAltName=IP:127.0.0.1',
        '-keyout',
        key,
        '-out',
        cert,
      ],
      { stdio: 'ignore' },
    );
    const secrets = { cert: await readFile(cert), key: await readFile(key) };
    const asked = { requestCert: true, ca: secrets.cert, ALPNProtocols: ['h2'] };
    const server = tls.createServer({ ...secrets, ...asked }, (socket) => {
      socket.end(String(socket.alpnProtocol));
    });
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const endpoints = [`https://127.0.0.1:${(server.address() as AddressInfo).port}`];
      const [stranger] = await dialsOf({ endpoints });
      expect(await stranger!().catch(errorCode)).toBe('HF_UNAVAILABLE');
      const files = { authorityFile: cert, certificateFile: cert, keyFile: key };
      const [known] = await dialsOf({ endpoints, ...files });
      const [word] = await once(await known!(), 'data');
      expect(String(word)).toBe('h2');
    } finally {
      server.close();
      await rm(folder, { recursive: true });
    }
  });
});
