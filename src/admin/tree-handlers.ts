/** The methods of the control interface about names: directories, files, links. */
import type { ControlMethod } from '../api/index.ts';
import { type Handler, sendAll } from './handler.ts';

type TreeMethod = Extract<ControlMethod, `tree.${string}`>;

export const TREE_HANDLERS: { readonly [Method in TreeMethod]: Handler<Method> } = {
  'tree.status': async ({ volume, path }, { parts }) =>
    await parts.volumes.files(volume).status(path),
  'tree.list': async ({ volume, path }, { parts }, item) =>
    await sendAll(parts.volumes.files(volume).list(path), item),
  'tree.makeDirectory': async ({ volume, path, ...options }, { parts }) =>
    await parts.volumes.files(volume).makeDirectory(path, options),
  'tree.makeFile': async ({ volume, path, ...ownership }, { parts }) =>
    await parts.volumes.files(volume).makeFile(path, ownership),
  'tree.makeSymlink': async ({ volume, path, target }, { parts }) =>
    await parts.volumes.files(volume).makeSymlink(target, path),
  'tree.link': async ({ volume, path, existing }, { parts }) =>
    await parts.volumes.files(volume).link(existing, path),
  async 'tree.rename'({ volume, from, to, flag }, { parts }) {
    await parts.volumes.files(volume).rename(from, to, { flag });
    return { from, to };
  },
  async 'tree.unlink'({ volume, path }, { parts }) {
    await parts.volumes.files(volume).unlink(path);
    return { path };
  },
  async 'tree.removeDirectory'({ volume, path }, { parts }) {
    await parts.volumes.files(volume).removeDirectory(path);
    return { path };
  },
  'tree.setOwnership': async ({ volume, path, ...ownership }, { parts }) =>
    await parts.volumes.files(volume).setOwnership(path, ownership),
};
