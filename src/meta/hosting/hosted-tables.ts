/**
 * The interfaces that cells carry, one row each: how its operations travel and where they go (its
 * method table), and which spaces have it. What runs them at a steward is in stewardship.ts.
 */
import { HANDLE_METHODS } from '../handles/handles-wire.ts';
import { NAMESPACE_METHODS } from '../namespace/namespace-wire.ts';
import { TREE_METHODS } from '../namespace/tree-wire.ts';
import { REFERENCE_METHODS } from '../references/references-wire.ts';
import type { AnyMethod } from '../remote/cell-methods.ts';
import type { CellId } from '../../log/index.ts';
import { UPLOAD_METHODS } from '../uploads/uploads-wire.ts';
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
  readonly methods: Readonly<Record<string, AnyMethod>>;
}

const isVolume = (space: string): boolean => volumeOfSpace(space) !== undefined;
const isReferences = (space: string): boolean => space === REFERENCES_SPACE;

export const HOSTED_TABLES = {
  namespace: { isFor: isVolume, methods: table(NAMESPACE_METHODS) },
  tree: { isFor: isVolume, methods: table(TREE_METHODS) },
  handles: { isFor: isVolume, methods: table(HANDLE_METHODS) },
  uploads: { isFor: isVolume, methods: table(UPLOAD_METHODS) },
  references: {
    isFor: isReferences,
    methods: table({ ...REFERENCE_METHODS, raiseFence: RAISE_FENCE }),
  },
} as const satisfies Readonly<Record<string, HostedTable>>;

export type HostedName = keyof typeof HOSTED_TABLES;

export const HOSTED_NAMES: readonly HostedName[] = Object.keys(HOSTED_TABLES) as HostedName[];

function table(methods: object): Readonly<Record<string, AnyMethod>> {
  return methods as Readonly<Record<string, AnyMethod>>;
}
