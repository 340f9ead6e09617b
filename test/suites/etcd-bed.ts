/**
 * A real etcd on loopback, in a folder of its own: a ring of one or three that tests kill, pause
 * and cut off. Where no etcd is installed `findEtcd` says so, and tests that need one are skipped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Duplex } from 'node:stream';
import { errorCode } from '../../src/base/index.ts';
import { realEnv } from '../../src/env/index.ts';
import {
  type DialEtcd,
  EtcdConnection,
  type EtcdMachine,
  type EtcdMember,
  type EtcdMemberOptions,
  type EtcdProcess,
  EtcdRunner,
  type RingMember,
} from '../../src/log/index.ts';

/** The path of the etcd that is installed. */
export function findEtcd(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, 'etcd')).find((path) => existsSync(path));
}

/** Starts etcd on this machine. */
export class LocalMachine implements EtcdMachine {
  readonly #binary: string;
  readonly #file: string;
  child: ChildProcess | undefined;

  /** @param file of the configuration. */
  constructor(binary: string, file: string) {
    this.#binary = binary;
    this.#file = file;
  }

  async start(configuration: string): Promise<EtcdProcess> {
    await writeFile(this.#file, configuration);
    const child = spawn(this.#binary, ['--config-file', this.#file], { stdio: 'ignore' });
    this.child = child;
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => resolve(String(signal ?? code)));
    });
    return { ended, kill: (signal) => void child.kill(signal) };
  }

  async clear(dataDirectory: string): Promise<void> {
    await rm(dataDirectory, { recursive: true, force: true });
  }
}

/** All of them are held until all are known, so that none is given out twice. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => net.createServer());
  const ports: number[] = [];
  for (const server of servers) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ports.push((server.address() as net.AddressInfo).port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

export interface BedMember {
  readonly runner: EtcdRunner;
  readonly machine: LocalMachine;
  readonly options: EtcdMemberOptions;
  readonly dial: DialEtcd;
}

export class EtcdBed implements AsyncDisposable {
  readonly #binary: string;
  readonly #folder: string;
  readonly #quota: { readonly quotaBytes?: number };
  readonly members: BedMember[] = [];

  private constructor(binary: string, folder: string, quotaBytes: number | undefined) {
    this.#binary = binary;
    this.#folder = folder;
    this.#quota = quotaBytes === undefined ? {} : { quotaBytes };
  }

  static async open(
    binary: string,
    count: 1 | 3,
    { quotaBytes }: { quotaBytes?: number } = {},
  ): Promise<EtcdBed> {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-etcd-'));
    const bed = new EtcdBed(binary, folder, quotaBytes);
    const ports = await freePorts(2 * count);
    const ring = ports
      .slice(count)
      .map((port, index) => ({ name: `m${index}`, peerUrl: at(port) }));
    for (const [index, { name }] of ring.entries()) bed.#make(name, { ring, port: ports[index]! });
    for (const { runner, options } of bed.members) await runner.run(options);
    await bed.ready();
    return bed;
  }

  #make(
    name: string,
    { ring, port, isNewRing = true }: { ring: RingMember[]; port: number; isNewRing?: boolean },
  ): BedMember {
    const options = {
      name,
      ring,
      token: this.#folder,
      isNewRing,
      dataDirectory: join(this.#folder, name),
      listenPeerUrl: ring.find((member) => member.name === name)!.peerUrl,
      listenClientUrl: at(port),
      ...this.#quota,
    };
    const machine = new LocalMachine(this.#binary, join(this.#folder, `${name}.json`));
    const runner = new EtcdRunner({ machine, env: realEnv() });
    const member = { runner, machine, options, dial: () => connect(port) };
    this.members.push(member);
    return member;
  }

  /** Adds a learner to the ring, asking one of its members, and starts it. */
  async join(name: string, via: EtcdMember): Promise<BedMember> {
    const [port, peerPort] = await freePorts(2);
    const infos = await via.addLearner([at(peerPort!)]);
    const ring = infos.map((info) => ({ name: info.name || name, peerUrl: info.peerUrls[0]! }));
    const member = this.#make(name, { ring, port: port!, isNewRing: false });
    await member.runner.run(member.options);
    return member;
  }

  get dials(): DialEtcd[] {
    return this.members.map(({ dial }) => dial);
  }

  /** The member that leads; `undefined` while none does. */
  async leader(): Promise<BedMember | undefined> {
    for (const member of this.members) {
      const answer = await fetch(`${member.options.listenClientUrl}/metrics`).catch(
        () => undefined,
      );
      if ((await answer?.text())?.includes('etcd_server_is_leader 1')) return member;
    }
    return undefined;
  }

  /** Resolves when the ring answers. */
  async ready(dials: readonly DialEtcd[] = this.dials): Promise<void> {
    const { clock } = realEnv();
    await using connection = new EtcdConnection({ members: dials, clock });
    for (;;) {
      try {
        await connection.transact({ conditions: [], ifMet: [], ifNot: [] });
        return;
      } catch (error) {
        if (!errorCode(error)) throw error;
        await clock.sleep(50);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { machine, runner } of this.members) {
      machine.child?.kill('SIGCONT');
      await runner.stop();
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function at(port: number): string {
  return `http://127.0.0.1:${port}`;
}

async function connect(port: number): Promise<Duplex> {
  return await new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    socket.once('connect', () => resolve(socket));
    socket.on('error', reject); // later ones change nothing: 'close' follows
  });
}

/** What goes wrong on connections, asked at each piece that passes. */
export interface WireFaults {
  /** Nothing of it arrives, nor of what follows on its connection. */
  losesRequest: () => boolean;
  losesReply: () => boolean;
}

/** Connections that lose what the faults say. */
export function faultyDial(dial: DialEtcd, faults: WireFaults): DialEtcd {
  return async () => {
    const socket = await dial();
    let isCut = { request: false, reply: false };
    const wire = new Duplex({
      write(chunk, _encoding, done) {
        isCut = { ...isCut, request: isCut.request || faults.losesRequest() };
        if (isCut.request) done();
        else socket.write(chunk, () => done());
      },
      final: (done) => void socket.end(() => done()),
      read() {},
      destroy(error, done) {
        socket.destroy();
        done(error);
      },
    });
    socket.on('data', (chunk) => {
      isCut = { ...isCut, reply: isCut.reply || faults.losesReply() };
      if (!isCut.reply) wire.push(chunk);
    });
    socket.once('close', () => wire.destroy());
    return wire;
  };
}
