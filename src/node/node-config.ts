/**
 * What the user wants of this node towards others: where it listens, what it calls itself, where it
 * stands. It is kept in `node.json`; flags of `up` and `join` change what they name and leave the
 * rest. A node that lists no address to listen on is alone, and opens no socket to the network.
 *
 * The *levels* of a cluster are its failure domains, widest first. A level that the user did not
 * name has the value `default`, which all that were not named share.
 */
import net from 'node:net';
import os from 'node:os';
import * as v from 'valibot';
import { HoldfastError, LIMITS, type NodeId } from '../base/index.ts';
import { DEFAULT_LABEL, type Wishes } from '../cluster/index.ts';
import { formatAddress, type Labels, type NetAddress, parseAddress } from '../net/index.ts';

/** Levels that a user may name; below the server comes the disk, which is found out. */
export const LABEL_LEVELS = ['datacenter', 'region', 'zone', 'rack', 'server'] as const;
export type LabelLevel = (typeof LABEL_LEVELS)[number];

/** Where a node listens when it is to be reached and nothing was said. */
export const DEFAULT_LISTEN = 'tls://0.0.0.0:7450';

const AWAY_GRACE_MS = 10 * 60_000;
const SCHEMES_ON_TCP: readonly string[] = ['tls', 'wss'];
const LABEL = /^[\w.:-]+$/;

const label = v.optional(v.string());

export const StoredConfig = v.strictObject({
  version: v.literal(1),
  listen: v.array(v.string()),
  advertise: v.array(v.string()),
  labels: v.strictObject({
    datacenter: label,
    region: label,
    zone: label,
    rack: label,
    server: label,
  }),
  name: v.string(),
  beacon: v.boolean(),
  awayGraceMs: v.number(),
  disks: v.optional(v.boolean(), true),
  metadata: v.optional(v.boolean(), true),
});

export type NodeConfig = Omit<v.InferOutput<typeof StoredConfig>, 'version'>;

/** What the user says anew; what is left out stays as it is. */
export interface ConfigChanges {
  /** Addresses such as tls://0.0.0.0:7450. */
  readonly listen?: readonly string[] | undefined;
  /** Where others reach this node, when that is not where it listens. */
  readonly advertise?: readonly string[] | undefined;
  readonly labels?: Readonly<Partial<Record<LabelLevel, string | undefined>>> | undefined;
  readonly name?: string | undefined;
  /** Whether the node announces itself on the local network, sealed for members. */
  readonly beacon?: boolean | undefined;
  /** Whether the node tells the members which disks and stores are on its machine. */
  readonly disks?: boolean | undefined;
  /** Whether the node carries a part of the metadata, when others want it to. */
  readonly metadata?: boolean | undefined;
  /** A node that is away for longer is given up, and its shards are made again elsewhere. */
  readonly awayGraceMs?: number | undefined;
}

export function defaultConfig(hostName: string = os.hostname()): NodeConfig {
  const name = hostName.replace(/[^\w.-]/g, '-').slice(0, LIMITS.nodeNameCharsMax) || 'node';
  return {
    listen: [],
    advertise: [],
    labels: {},
    name,
    beacon: true,
    awayGraceMs: AWAY_GRACE_MS,
    disks: true,
    metadata: true,
  };
}

/** @throws HF_BAD_ARGUMENT for what is no address, name or label. */
export function changedConfig(before: NodeConfig, changes: ConfigChanges): NodeConfig {
  const said = Object.entries(changes).filter(([, value]) => value !== undefined);
  const labels = { ...before.labels };
  for (const level of LABEL_LEVELS) {
    const value = changes.labels?.[level];
    if (value !== undefined) labels[level] = checkedLabel(level, value);
  }
  const config = { ...before, ...Object.fromEntries(said), labels } as NodeConfig;
  if (config.listen.length > LIMITS.addressesPerRecordMax) {
    const message = `a node listens on at most ${LIMITS.addressesPerRecordMax} addresses`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  for (const address of [...config.listen, ...config.advertise]) parseAddress(address);
  if (!/^[\w.-]+$/.test(config.name) || config.name.length > LIMITS.nodeNameCharsMax) {
    const message = `a node is named by 1 to ${LIMITS.nodeNameCharsMax} letters, digits, ".", "-"`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  return config;
}

function checkedLabel(level: string, value: string): string {
  if (LABEL.test(value) && value.length <= LIMITS.labelCharsMax) return value;
  throw new HoldfastError('HF_BAD_ARGUMENT', `"${value}" is no name of a ${level}: a short word`);
}

/** Levels that were named, with their names. */
export function namedLevels({ labels }: NodeConfig): Labels {
  const pairs = LABEL_LEVELS.map((level) => [level, labels[level]] as const);
  return Object.fromEntries(pairs.filter((pair) => pair[1] !== undefined)) as Labels;
}

/** What a node says of itself when it joins. */
export function wishesOf(config: NodeConfig): Wishes {
  return { name: config.name, labels: namedLevels(config) };
}

/** What a node says of its part in the metadata; see home-claims.ts. */
export interface MetadataClaims {
  /** Of this node as home. */
  readonly homeGeneration?: number | undefined;
  /** Of the registry, as far as this metadata node has seen it. */
  readonly registryGeneration?: number | undefined;
  /** Where that registry is: on the stores of its home, and in no ring. */
  readonly isLocal?: boolean | undefined;
  /** Whether this metadata node is about to leave. */
  readonly isLeaving?: boolean | undefined;
}

/** What gossip says of a node besides its addresses. */
export function gossipLabels(
  config: NodeConfig,
  { homeGeneration, registryGeneration, isLocal = false, isLeaving = false }: MetadataClaims,
): Labels {
  const home = homeGeneration === undefined ? {} : { home: String(homeGeneration) };
  const meta = registryGeneration === undefined ? {} : { meta: String(registryGeneration) };
  const engine = isLocal ? { engine: 'local' } : {};
  const leaving = isLeaving ? { leaving: 'yes' } : {};
  return { ...namedLevels(config), name: config.name, ...home, ...meta, ...engine, ...leaving };
}

/** Of the stores of a node, on the levels above the disk. */
export function deviceLabels({ labels }: NodeConfig, node: NodeId): readonly string[] {
  return LABEL_LEVELS.map((level) => labels[level] ?? (level === 'server' ? node : DEFAULT_LABEL));
}

/** Whether others than this machine can connect. */
export function listensToOthers({ listen }: NodeConfig): boolean {
  return listen.some((text) => !isLoopback(parseAddress(text).host));
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** Where this node can be reached: as configured, or by the addresses of its interfaces. */
export function reachableAt(
  { listen, advertise }: NodeConfig,
  interfaces: readonly string[] = interfaceAddresses(),
): readonly NetAddress[] {
  if (advertise.length > 0) return advertise.map(parseAddress);
  const all = listen.map(parseAddress).flatMap((address) => {
    if (address.host === '0.0.0.0') return interfaces.filter(net.isIPv4).map(at(address));
    if (address.host === '::') return interfaces.map(at(address));
    return [address];
  });
  const unique = new Map(all.map((address) => [formatAddress(address), address]));
  return [...unique.values()].slice(0, LIMITS.addressesPerRecordMax);
}

function at(address: NetAddress): (host: string) => NetAddress {
  return (host) => ({ ...address, host });
}

/** Bridges of containers have the same addresses on every machine. */
const BRIDGE = /^(docker|br-|veth|virbr|cni|lxc)/;

/** IP addresses of this machine, the most useful ones first; loopback when there is no other. */
export function interfaceAddresses(): readonly string[] {
  const found = Object.entries(os.networkInterfaces()).flatMap(([name, entries = []]) =>
    entries
      .filter(({ internal, address }) => !internal && !/^(fe80:|169\.254\.)/i.test(address))
      .map(({ address, family }) => ({
        address,
        rank: (BRIDGE.test(name) ? 2 : 0) + (family === 'IPv4' ? 0 : 1),
      })),
  );
  if (found.length === 0) return ['127.0.0.1'];
  return found.toSorted((a, b) => a.rank - b.rank).map(({ address }) => address);
}

/**
 * Addresses with the ports that they are to have: 0 becomes one that is free; with `mayMove` also
 * one that is taken.
 */
export async function withPorts(
  listen: readonly string[],
  { mayMove = false }: { readonly mayMove?: boolean } = {},
): Promise<string[]> {
  const addresses: string[] = [];
  for (const text of listen) {
    const address = parseAddress(text);
    const mustMove = address.port === 0 || (mayMove && !(await isFree(address)));
    const port = mustMove ? await freePort(address.host) : address.port;
    addresses.push(formatAddress({ ...address, port }));
  }
  return addresses;
}

/**
 * Before addresses are kept: whether this node can listen there.
 * @throws HF_BUSY when another program has a port, HF_UNAVAILABLE when a host is not this machine.
 */
export async function assertFree(listen: readonly string[]): Promise<void> {
  for (const { scheme, host, port } of listen.map(parseAddress)) {
    if (SCHEMES_ON_TCP.includes(scheme)) await freePort(host, port);
  }
}

async function isFree({ host, port }: NetAddress): Promise<boolean> {
  return await freePort(host, port).then(
    () => true,
    () => false,
  );
}

function freePort(host: string, wanted = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === 'EADDRINUSE';
      const text = `cannot listen on ${host}:${wanted}: `;
      const why = isTaken ? 'the port is taken; choose another with --listen' : cause.message;
      const code = isTaken ? 'HF_BUSY' : 'HF_UNAVAILABLE';
      reject(new HoldfastError(code, text + why, { cause }));
    });
    server.listen({ host, port: wanted, exclusive: true }, () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
