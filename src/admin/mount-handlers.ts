/** The methods of the control interface about mounts. */
import type { ControlMethod } from '../api/index.ts';
import type { Handler } from './handler.ts';

type MountMethod = Extract<ControlMethod, `mount.${string}`>;

export const MOUNT_HANDLERS: { readonly [Method in MountMethod]: Handler<Method> } = {
  'mount.list': async (_, { parts }) => await parts.mounts.list(),
  'mount.add': async (request, { parts }) => await parts.mounts.add(request),
  'mount.remove': async (request, { parts }) => await parts.mounts.remove(request),
};
