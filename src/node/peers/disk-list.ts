/**
 * What a node tells the others of its machine: a *disk list* of filesystems and stores. Who hears
 * one checks it against {@link DiskList}: it is bounded, and what it says can be printed.
 */
import * as v from 'valibot';
import { LIMITS, utf8 } from '../../base/index.ts';
import type { MachineDisks } from '../../device/index.ts';
import type { Slot } from '../stores/store-slot.ts';

const TEXT_CHARS_MAX = 1024;
/** Nothing that would move the cursor of who reads it, or turn the text round. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

const text = v.nullable(
  v.pipe(
    v.string(),
    v.maxLength(TEXT_CHARS_MAX),
    v.check((value) => !UNPRINTABLE.test(value), 'it cannot be printed'),
  ),
);

const Entry = v.strictObject({ storeId: text, uuid: text, label: text, device: text, path: text });

/** A filesystem, or a store, which has an id. */
export type DiskEntry = Readonly<v.InferOutput<typeof Entry>>;

export const DiskList = v.pipe(
  v.array(Entry),
  v.maxLength(LIMITS.disksPerNodeMax),
  v.check((list) => listBytes(list) <= LIMITS.diskListBytesMax, 'it is too long'),
);

export function listBytes(list: readonly DiskEntry[]): number {
  return utf8(JSON.stringify(list)).length;
}

/** Stores first, then what is mounted; what is beyond the limits is left out. */
export async function diskListOf(
  disks: MachineDisks,
  slots: readonly Slot[],
): Promise<readonly DiskEntry[]> {
  const stores = await Promise.all(slots.map(storeEntry)); // what they say is in memory
  const filesystems = disks.filesystems.map(({ uuid, label, device, mountPoints }) =>
    entryOf({ uuid, label, device, path: mountPoints[0] }),
  );
  const mounted = filesystems.filter(({ path }) => path !== null);
  const others = filesystems.filter(({ path }) => path === null);
  const all = [...stores.filter((entry) => entry !== undefined), ...mounted, ...others];
  return withinLimits(all);
}

/** `undefined` for a store that is away. */
async function storeEntry({ id, path, open }: Slot): Promise<DiskEntry | undefined> {
  if (!open || open.store.state === 'failed') return undefined;
  const { label } = await open.store.describe();
  const device = open.device.kind === 'raw' ? path : undefined;
  return entryOf({ storeId: id, label: label || undefined, device, path });
}

function entryOf(parts: { readonly [Name in keyof DiskEntry]?: string | undefined }): DiskEntry {
  const { storeId, uuid, label, device, path } = parts;
  return {
    storeId: printable(storeId),
    uuid: printable(uuid),
    label: printable(label),
    device: printable(device),
    path: printable(path),
  };
}

function printable(value: string | undefined): string | null {
  const all = new RegExp(UNPRINTABLE, 'gu');
  return value?.replace(all, '\uFFFD').slice(0, TEXT_CHARS_MAX) ?? null;
}

function withinLimits(entries: readonly DiskEntry[]): DiskEntry[] {
  const list = entries.slice(0, LIMITS.disksPerNodeMax);
  while (listBytes(list) > LIMITS.diskListBytesMax) list.pop();
  return list;
}

/** Whether a user means it by a label, or the beginning of an id or a uuid. */
export function isCalled({ storeId, uuid, label }: DiskEntry, name: string): boolean {
  if (label === name) return true;
  const wanted = name.toLowerCase();
  if (wanted.length < NAME_CHARS_MIN) return false;
  return [storeId, uuid].some((id) => id?.toLowerCase().startsWith(wanted));
}

/** Beginnings that are shorter mean too much. */
const NAME_CHARS_MIN = 4;
