/** What each method of the control interface does: one table, method → function. */
import type { ControlMethod } from '../api/index.ts';
import { errorCode, LIMITS, type ObjectId, parsePolicy } from '../base/index.ts';
import type { Retention } from '../meta/index.ts';
import type { ShardLocation } from './admin-parts.ts';
import { openContent, optionalPolicy, storeContent } from './content.ts';
import { handedSource, handedTarget } from './handed-file.ts';
import { type Handler, sendAll } from './handler.ts';
import { MOUNT_HANDLERS } from './mount-handlers.ts';
import { TREE_HANDLERS } from './tree-handlers.ts';
import {
  fullness,
  healthView,
  listedView,
  nodesAway,
  objectView,
  placeView,
  repairStatusView,
  volumeView,
} from './views.ts';

export const HANDLERS: { readonly [Method in ControlMethod]: Handler<Method> } = {
  async status(_, { parts }) {
    const [volumes, devices, nodes, status, others] = await Promise.all([
      parts.volumes.list().catch(unanswered),
      parts.devices.list(),
      parts.peers.list(),
      parts.repairStatus(),
      parts.warnings(),
    ]);
    const warnings = [...fullness(devices), ...nodesAway(nodes), ...others];
    const repair = repairStatusView(status);
    const views = { volumes: volumes.map(volumeView), devices, nodes, repair };
    return { ...parts.identity, ...views, warnings };
  },
  async stop(_, { parts }) {
    parts.stop();
    return { isStopping: true, processId: parts.identity.processId };
  },

  async health(_, { parts, signal, onProgress }) {
    const summary = await parts.repair.health({ signal, onProgress });
    const [devices, nodes, status] = await Promise.all([
      parts.devices.list(),
      parts.peers.list(),
      parts.repairStatus(),
    ]);
    const repair = repairStatusView(status);
    return healthView(summary, { devices, nodes, repair, layout: parts.layoutReport() });
  },
  scrub: async (_, { parts, signal, onProgress }) =>
    await parts.repair.scrub({ signal, onProgress }),
  async repair({ rateBytesPerSecond }, { parts, signal, onProgress }) {
    const repaired = await parts.repair.repair({ rateBytesPerSecond, signal, onProgress });
    const graceMs = LIMITS.unnamedChunkGraceMs;
    const { deletedStripes, deletedChunks } = await parts.repair.collect({ graceMs, signal });
    return { ...repaired, deletedStripes, deletedChunks };
  },
  metrics: async (_, { parts }) => parts.metrics(),

  'content.store': async ({ descriptor, ...request }, context) => {
    await using source = await handedSource(descriptor, context.onProgress);
    return await storeContent(context, request, source);
  },
  'content.fetch': async ({ descriptor, ...wanted }, { parts, signal, onProgress }) => {
    await using target = await handedTarget(descriptor);
    using _work = parts.beginContent();
    const { info, bytes } = await openContent(parts.volumes.objects(wanted.volume), wanted, signal);
    await target.write(bytes, { totalCount: info.sizeBytes, onProgress });
    return objectView(info);
  },

  'object.create': async ({ volume }, { parts }) =>
    objectView(await parts.volumes.objects(volume).create()),
  'object.query': async ({ volume, reference }, { parts }) =>
    objectView(await parts.volumes.objects(volume).query(reference)),
  'object.remove': async ({ volume, reference }, { parts }) =>
    objectView(await parts.volumes.objects(volume).remove(reference)),
  'object.reencode': async ({ volume, reference, scheme }, { parts, signal }) => {
    const policy = parsePolicy(scheme);
    return objectView(await parts.volumes.objects(volume).reencode(reference, policy, { signal }));
  },
  async 'object.list'({ volume, prefix, afterId, ...page }, { parts }, item) {
    const wanted = { ...page, afterId: afterId as ObjectId | undefined };
    const files = parts.volumes.objects(volume).list(prefix, wanted);
    return await sendAll(files, (file) => item(listedView(file)));
  },
  'object.where': async ({ volume, reference }, { parts }, item) =>
    await sendAll(parts.volumes.objects(volume).where(reference), (places) => {
      const { relaxed } = parts.layoutReport();
      return item(placeView(places, { relaxed, places: parts.storePlaces() }));
    }),
  'object.locate': async ({ volume, reference }, { parts }) => {
    const objects = parts.volumes.objects(volume);
    const info = await objects.query(reference);
    let location: ShardLocation | undefined;
    for await (const places of objects.where(info.id)) {
      location = await parts.devices.locate(places);
      break;
    }
    const { device = null, storeId = null, block = null } = location ?? {};
    return { object: objectView(info), device, storeId, block, blockBytes: LIMITS.blockBytes };
  },

  ...TREE_HANDLERS,
  ...MOUNT_HANDLERS,

  'device.list': async (_, { parts }) => await parts.devices.list(),
  'device.add': async (request, { parts }) => await parts.devices.add(request),
  'device.query': async ({ device }, { parts }) => await parts.devices.query(device),
  'device.limits': async (request, { parts }) => await parts.devices.setLimits(request),
  'device.detach': async ({ device }, { parts }) => await parts.devices.detach(device),
  'device.remove': async (request, { parts }) => await parts.devices.remove(request),

  'volume.list': async (_, { parts }) => (await parts.volumes.list()).map(volumeView),
  'volume.create': async ({ name, scheme, isDeduplicating, worm }, { parts }) => {
    const about = { policy: optionalPolicy(scheme), retention: retentionOf(worm) };
    return volumeView(await parts.volumes.create({ name, isDeduplicating, ...about }));
  },
  'volume.policy': async ({ name, scheme, worm }, { parts }) => {
    const change = { policy: optionalPolicy(scheme), retention: retentionOf(worm) };
    return volumeView(await parts.volumes.setPolicy(name, change));
  },
  'volume.apply': async ({ name }, { parts, signal, onProgress }) =>
    await parts.volumes.applyPolicy(name, { signal, onProgress }),
  'volume.grant': async ({ name, node }, { parts }) => await parts.peers.grant(name, node),
  'volume.revoke': async ({ name, node }, { parts }) => await parts.peers.revoke(name, node),

  'peers.list': async (_, { parts }) => await parts.peers.list(),
  'peers.connect': async ({ address }, { parts }) => await parts.peers.connect(address),
  'cluster.invite': async (request, { parts }) => await parts.peers.invite(request),
  'cluster.leave': async (_, { parts, signal, onProgress }) => {
    const left = await parts.peers.leave({ signal, onProgress });
    parts.stop();
    return left;
  },
  'node.remove': async (request, { parts }) => await parts.peers.remove(request),

  'disks.list': async (_, { parts }) => await parts.disks.list(),
  'disks.where': async ({ name }, { parts, signal }) => await parts.disks.where(name, { signal }),
  'disks.localhost': async (_, { parts }) => await parts.disks.here(),

  'meta.report': async (_, { parts }) => await parts.metadata.report(),
  'meta.where': async ({ volume, path }, { parts }) => await parts.metadata.where(volume, path),
  'meta.restore': async (_, { parts }) => ({ lines: await parts.metadata.restore() }),
  'meta.useEtcd': async (wish, { parts }) => ({ lines: await parts.metadata.useEtcd(wish) }),

  'key.export': async (_, { parts }) => ({ kit: await parts.exportKit() }),
};

function retentionOf(worm: { retentionMs: number | null } | undefined): Retention | undefined {
  return worm && { retentionMs: worm.retentionMs ?? undefined };
}

/** Of a node that is away; the warnings say so. */
function unanswered(error: unknown): readonly [] {
  if (errorCode(error) === 'HF_UNAVAILABLE') return [];
  throw error;
}
