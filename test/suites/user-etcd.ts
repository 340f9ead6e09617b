/**
 * An etcd as a user runs it: with settings of its own, on a port of loopback, over TLS if wanted,
 * with certificates that openssl makes. It is killed and comes back with its data.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePorts } from './etcd-bed.ts';

const run = promisify(execFile);

export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** Signs certificates for tests. */
export class TestAuthority {
  readonly #folder: string;
  #count = 0;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @returns `undefined` where there is no openssl. */
  static async open(folder: string): Promise<TestAuthority | undefined> {
    const authority = new TestAuthority(folder);
    try {
      await authority.#openssl('req -x509 -nodes -newkey ed25519 -subj /CN=test-ca', {
        files: ['-keyout', 'ca-key.pem', '-out', 'ca.pem'],
      });
    } catch {
      return undefined;
    }
    return authority;
  }

  get file(): string {
    return join(this.#folder, 'ca.pem');
  }

  async certificate(): Promise<string> {
    return await readFile(this.file, 'utf8');
  }

  /** Of a server on 127.0.0.1, and of a client with that name. */
  async issue(name: string): Promise<Identity & { readonly base: string }> {
    const base = `${name}-${this.#count++}`;
    const usage = 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n';
    await writeFile(join(this.#folder, `${base}.ext`), usage);
    await this.#openssl(`req -nodes -newkey ed25519 -subj /CN=${name}`, {
      files: ['-keyout', `${base}-key.pem`, '-out', `${base}.csr`],
    });
    await this.#openssl('x509 -req -CA ca.pem -CAkey ca-key.pem -CAcreateserial', {
      files: ['-in', `${base}.csr`, '-out', `${base}.pem`, '-extfile', `${base}.ext`],
    });
    const path = join(this.#folder, base);
    const certificate = await readFile(`${path}.pem`, 'utf8');
    return { certificate, key: await readFile(`${path}-key.pem`, 'utf8'), base: path };
  }

  async #openssl(words: string, { files }: { files: readonly string[] }): Promise<void> {
    await run('openssl', [...words.split(' '), ...files], { cwd: this.#folder });
  }
}

export class UserEtcd implements AsyncDisposable {
  readonly endpoint: string;
  readonly authority: TestAuthority | undefined;
  readonly #binary: string;
  readonly #folder: string;
  readonly #flags: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(about: {
    readonly binary: string;
    readonly folder: string;
    readonly flags: readonly string[];
    readonly endpoint: string;
    readonly authority: TestAuthority | undefined;
  }) {
    this.#binary = about.binary;
    this.#folder = about.folder;
    this.#flags = about.flags;
    this.endpoint = about.endpoint;
    this.authority = about.authority;
  }

  /** @param isTls it asks for certificates; without openssl the result is `undefined`. */
  static async open(
    binary: string,
    {
      isTls = false,
      flags = {},
    }: { isTls?: boolean; flags?: Readonly<Record<string, string>> } = {},
  ): Promise<UserEtcd | undefined> {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-user-etcd-'));
    const authority = isTls ? await TestAuthority.open(folder) : undefined;
    if (isTls && !authority) {
      await rm(folder, { recursive: true });
      return undefined;
    }
    const own = await authority?.issue('etcd');
    const tls = own && {
      '--cert-file': `${own.base}.pem`,
      '--key-file': `${own.base}-key.pem`,
      '--client-cert-auth': true,
      '--trusted-ca-file': authority!.file,
    };
    const [port, peerPort] = await freePorts(2);
    const endpoint = `${isTls ? 'https' : 'http'}://127.0.0.1:${port}`;
    const peers = `http://127.0.0.1:${peerPort}`;
    const etcd = new UserEtcd({
      binary,
      folder,
      endpoint,
      authority,
      flags: Object.entries({
        '--name': 'user',
        '--data-dir': join(folder, 'data'),
        '--log-level': 'error',
        '--listen-client-urls': endpoint,
        '--advertise-client-urls': endpoint,
        '--listen-peer-urls': peers,
        '--initial-advertise-peer-urls': peers,
        '--initial-cluster': `user=${peers}`,
        ...tls,
        ...flags,
      }).map(([flag, value]) => `${flag}=${value}`),
    });
    await etcd.start();
    return etcd;
  }

  /** Also after it was killed. */
  async start(): Promise<void> {
    this.#child = spawn(this.#binary, this.#flags, { stdio: 'ignore', cwd: this.#folder });
    const { hostname, port } = new URL(this.endpoint);
    while (!(await isOpen(hostname, Number(port)))) await sleep(50);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** By its gateway for JSON; over TLS as somebody to whom it listens. */
  async ask(path: string, body: object, identity?: Identity): Promise<unknown> {
    const text = JSON.stringify(body);
    if (!this.authority) {
      const answer = await fetch(`${this.endpoint}/v3/${path}`, { method: 'POST', body: text });
      return await answer.json();
    }
    const { certificate: cert, key } = identity!;
    const ca = await this.authority.certificate();
    const request = https.request(`${this.endpoint}/v3/${path}`, {
      method: 'POST',
      ca,
      cert,
      key,
    });
    request.end(text);
    const [answer] = (await once(request, 'response')) as [AsyncIterable<Buffer>];
    return JSON.parse(Buffer.concat(await Array.fromAsync(answer)).toString());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function isOpen(host: string, port: number): Promise<boolean> {
  const socket = net.connect({ host, port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
