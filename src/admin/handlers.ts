/** What each method of the control interface does: one table, method → function. */
import type { ControlAnswers, ControlMethod, ControlRequest, ProgressView } from '../api/index.ts';
import { LIMITS, parseScheme } from '../base/index.ts';
import type { AdminParts, ShardLocation } from './admin-parts.ts';
import { openContent, optionalScheme, storeContent } from './content.ts';
import { handedSource, handedTarget } from './handed-file.ts';
import { fullness, healthView, objectView, placeView, volumeView } from './views.ts';

export interface CallContext {
  readonly parts: AdminParts;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: ProgressView) => void;
}

/** `item` sends one of many; await it before the next. */
export type SendItem<Method extends ControlMethod> = (
  item: ControlAnswers[Method] extends { item: infer Item } ? Item : never,
) => Promise<void>;

type Handler<Method extends ControlMethod> = (
  request: ControlRequest<Method>,
  context: CallContext,
  item: SendItem<Method>,
) => Promise<ControlAnswers[Method]['result']>;

export const HANDLERS: { readonly [Method in ControlMethod]: Handler<Method> } = {
  async status(_, { parts }) {
    const [volumes, devices, others] = await Promise.all([
      parts.volumes.list(),
      parts.devices.list(),
      parts.warnings(),
    ]);
    const warnings = [...fullness(devices), ...others];
    return { ...parts.identity, volumes: volumes.map(volumeView), devices, warnings };
  },
  async stop(_, { parts }) {
    parts.stop();
    return { isStopping: true, processId: parts.identity.processId };
  },

  async health(_, { parts, signal, onProgress }) {
    const summary = await parts.repair.health({ signal, onProgress });
    const devices = await parts.devices.list();
    return healthView(summary, { devices, layout: parts.layoutReport() });
  },
  scrub: async (_, { parts, signal, onProgress }) =>
    await parts.repair.scrub({ signal, onProgress }),
  async repair(_, { parts, signal, onProgress }) {
    const repaired = await parts.repair.repair({ signal, onProgress });
    const graceMs = LIMITS.unnamedChunkGraceMs;
    const { deletedStripes, deletedChunks } = await parts.repair.collect({ graceMs, signal });
    return { ...repaired, deletedStripes, deletedChunks };
  },

  'content.store': async ({ descriptor, ...request }, context) => {
    await using source = await handedSource(descriptor, context.onProgress);
    return await storeContent(context, request, source);
  },
  'content.fetch': async ({ descriptor, ...wanted }, { parts, signal, onProgress }) => {
    await using target = await handedTarget(descriptor);
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
  'object.list': async ({ volume, prefix }, { parts }, item) =>
    await sendAll(parts.volumes.objects(volume).list(prefix), (info) => item(objectView(info))),
  'object.where': async ({ volume, reference }, { parts }, item) =>
    await sendAll(parts.volumes.objects(volume).where(reference), (it) => item(placeView(it))),
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

  'device.list': async (_, { parts }) => await parts.devices.list(),
  'device.add': async (request, { parts }) => await parts.devices.add(request),
  'device.query': async ({ device }, { parts }) => await parts.devices.query(device),
  'device.limits': async (request, { parts }) => await parts.devices.setLimits(request),
  'device.detach': async ({ device }, { parts }) => await parts.devices.detach(device),
  'device.remove': async (request, { parts }) => await parts.devices.remove(request),

  'volume.list': async (_, { parts }) => (await parts.volumes.list()).map(volumeView),
  'volume.create': async ({ name, scheme, isDeduplicating }, { parts }) =>
    volumeView(
      await parts.volumes.create({ name, scheme: optionalScheme(scheme), isDeduplicating }),
    ),
  'volume.policy': async ({ name, scheme }, { parts }) =>
    volumeView(await parts.volumes.setScheme(name, parseScheme(scheme))),

  'key.export': async (_, { parts }) => ({ kit: await parts.exportKit() }),
};

async function sendAll<Item>(
  items: AsyncIterable<Item>,
  send: (item: Item) => Promise<void>,
): Promise<{ count: number }> {
  let count = 0;
  for await (const item of items) {
    await send(item);
    count += 1;
  }
  return { count };
}
