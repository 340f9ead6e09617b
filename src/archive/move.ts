/**
 * Moves a file or folder: in every master store, then its shares in every share store.
 *
 * Each rename is atomic, all of them together are not. So the intent is in the catalogue before the
 * first, and the entries of the catalogue move with its removal after the last. While it is there,
 * no verb takes the shares at either place for those of a deleted file, and the same command, given
 * again, renames what is still at the old place; the reverse one brings back what is at the new.
 */
import path from 'node:path';
import { HoldfastError } from '../base/index.ts';
import type { MoveRecord } from './catalogue.ts';
import { lookAt } from './file-fact.ts';
import { assertOnline } from './stores.ts';
import { type Entry, entryOf, isFile, isFolder, shareName } from './tree.ts';
import { type Outcome, outcome, type Work } from './work.ts';

/**
 * @param move `to` is the new path, or a folder into which it goes.
 * @throws HF_NOT_FOUND, HF_EXISTS, HF_UNAVAILABLE when a store of the scheme is offline.
 */
export async function moveEntry(work: Work, move: MoveRecord): Promise<Outcome> {
  const { view, catalogue } = work;
  const { name } = view.scheme;
  assertOnline([...view.masters, ...view.shares], 'what it has would stay behind');
  const pending = catalogue.move(name);
  const isUndone = pending?.from === move.to && pending.to === move.from;
  if (pending && !isUndone && !isSameMove(pending, move)) {
    const both = `"${name}:${pending.from}" "${name}:${pending.to}"`;
    const message = `another move was interrupted; finish it: holdfast archive move ${both}`;
    throw new HoldfastError('HF_BUSY', message);
  }
  const { from, to } = isUndone ? move : (pending ?? (await plannedMove(work, move)));
  const renames = await renamesOf(work, { from, to });
  const taken = pending ? undefined : await firstTaken(work, to);
  if (taken !== undefined) throw new HoldfastError('HF_EXISTS', `${taken} exists`);
  const detail = `to ${to}`;
  if (work.isDryRun) return outcome(work, from, { result: 'moved', detail });
  await catalogue.beginMove(name, { from, to });
  for (const { source, target } of renames) await rename(work, source, target);
  await catalogue.endMove(name, { from, to });
  return outcome(work, from, { result: pending ? 'move finished' : 'moved', detail });
}

function isSameMove(pending: MoveRecord, { from, to }: MoveRecord): boolean {
  const into = to === '' ? path.posix.basename(from) : `${to}/${path.posix.basename(from)}`;
  return pending.from === from && (pending.to === to || pending.to === into);
}

/** Into a folder that is there, as mv(1) does. */
async function plannedMove({ view }: Work, { from, to }: MoveRecord): Promise<MoveRecord> {
  const source = await entryOf(view, from);
  if (from === '' || (!isFile(source) && !isFolder(source))) {
    throw new HoldfastError('HF_NOT_FOUND', `there is no ${view.scheme.name}:${from}`);
  }
  const target = await entryOf(view, to);
  const base = path.posix.basename(from);
  const planned = !isFolder(target) ? to : to === '' ? base : `${to}/${base}`;
  if (planned === from || `${planned}/`.startsWith(`${from}/`)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `${from} cannot be moved into itself`);
  }
  return { from, to: planned };
}

interface Rename {
  readonly source: string;
  readonly target: string;
}

/** Of what is at the old place still; masters first. */
async function renamesOf({ view }: Work, { from, to }: MoveRecord): Promise<Rename[]> {
  const places = placesOf(await entryOf(view, from));
  const targets = placesOf(await entryOf(view, to));
  const renames: Rename[] = [];
  for (const [index, source] of places.entries()) {
    if (await lookAt(source)) renames.push({ source, target: targets[index]! });
  }
  return renames;
}

async function firstTaken({ view }: Work, to: string): Promise<string | undefined> {
  for (const place of placesOf(await entryOf(view, to))) {
    if (await lookAt(place)) return place;
  }
  return undefined;
}

/** All places that a path can have, in a fixed order. */
function placesOf({ path: name, masters, folders, shares }: Entry): string[] {
  return [
    ...masters.map(({ store }) => path.join(store.root!, name)),
    ...shares.map(({ store }, number) => path.join(store.root!, shareName(name, number))),
    ...folders.map(({ store }) => path.join(store.root!, name)),
  ];
}

async function rename({ disk }: Work, source: string, target: string): Promise<void> {
  if (await lookAt(target)) throw new HoldfastError('HF_EXISTS', `${target} exists`);
  await disk.makeFolder(path.dirname(target));
  await disk.rename(source, target);
}
