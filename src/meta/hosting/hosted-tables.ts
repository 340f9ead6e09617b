/**
 * The interfaces that cells carry, one row each: how its operations travel and where they go (its
 * method table), and which spaces have it. What runs them at a steward is in stewardship.ts.
 */
import type { CellId } from '../../log/index.ts';
import { REFERENCE_METHODS } from '../references/references-wire.ts';
import type { AnyMethod } from '../remote/cell-methods.ts';
import {
  type AnyMethods,
  anyMethods,
  DOOR_NAMES,
  type DoorName,
  VOLUME_TABLES,
} from '../volume-cell/volume-tables.ts';
import { RAISE_FENCE } from './session-fences.ts';

/** The space of all reference slots; every other one is that of a volume. */
export const REFERENCES_SPACE = 'references';

export function spaceOfVolume(volume: string): string {
  return `volume-${volume}`;
}

/** The volume of a space; `undefined` for the space of the references. */
export function volumeOfSpace(space: string): string | undefined {
  return space.startsWith('volume-') ? space.slice('volume-'.length) : undefined;
}

/** `undefined` when it is the name of no cell. */
export function spaceOfCell(cell: CellId): string | undefined {
  return /^(references|volume-[0-9a-f]{32})(-\d+)?$/.exec(cell)?.[1];
}

export interface HostedTable {
  readonly isFor: (space: string) => boolean;
  readonly methods: AnyMethods;
}

export type HostedName = DoorName | 'references';

export const HOSTED_NAMES: readonly HostedName[] = [...DOOR_NAMES, 'references'];

export const HOSTED_TABLES: Readonly<Record<HostedName, HostedTable>> = {
  namespace: tableOfVolume('namespace'),
  tree: tableOfVolume('tree'),
  handles: tableOfVolume('handles'),
  uploads: tableOfVolume('uploads'),
  references: {
    isFor: (space) => space === REFERENCES_SPACE,
    methods: anyMethods({ ...REFERENCE_METHODS, raiseFence: RAISE_FENCE }),
  },
};

export function methodOf(name: HostedName, method: string): AnyMethod {
  return HOSTED_TABLES[name].methods[method] as AnyMethod;
}

function tableOfVolume(name: DoorName): HostedTable {
  return { isFor: (space) => volumeOfSpace(space) !== undefined, methods: VOLUME_TABLES[name] };
}
