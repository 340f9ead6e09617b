/**
 * The interfaces of a volume, its *doors*: whoever answers behind them, one cell or many, here or
 * on other nodes. Each travels by one method table, between two nodes (remote/) as between many
 * (hosting/).
 */
import { HANDLE_METHODS } from '../handles/handles-wire.ts';
import type { Handles } from '../handles/handles.ts';
import { NAMESPACE_METHODS } from '../namespace/namespace-wire.ts';
import type { Namespace } from '../namespace/namespace.ts';
import { TREE_METHODS } from '../namespace/tree-wire.ts';
import type { Tree } from '../namespace/tree.ts';
import type { AnyMethod } from '../remote/cell-methods.ts';
import { UPLOAD_METHODS } from '../uploads/uploads-wire.ts';
import type { Uploads } from '../uploads/uploads.ts';

export interface VolumeDoors {
  /** Closed with the rest. */
  readonly namespace: Namespace;
  readonly tree: Tree;
  readonly handles: Handles;
  readonly uploads: Uploads;
}

export type DoorName = keyof VolumeDoors;

/** A table whose types nobody needs any more. */
export type AnyMethods = Readonly<Record<string, AnyMethod>>;

export const VOLUME_TABLES: Readonly<Record<DoorName, AnyMethods>> = {
  namespace: anyMethods(NAMESPACE_METHODS),
  tree: anyMethods(TREE_METHODS),
  handles: anyMethods(HANDLE_METHODS),
  uploads: anyMethods(UPLOAD_METHODS),
};

export const DOOR_NAMES: readonly DoorName[] = Object.keys(VOLUME_TABLES) as DoorName[];

/** Each door as `open` gives it. */
export function volumeDoors(open: (name: DoorName, methods: AnyMethods) => object): VolumeDoors {
  const doors = DOOR_NAMES.map((name) => [name, open(name, VOLUME_TABLES[name])]);
  return Object.fromEntries(doors) as unknown as VolumeDoors;
}

export function anyMethods(methods: object): AnyMethods {
  return methods as AnyMethods;
}
