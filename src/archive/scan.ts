/**
 * How a file stands. Marks of shares: `*` all are there, `!` enough to restore it, `X` bad or too
 * few or sealed with another key than the one at hand, `-` none, `?` their stores are offline.
 * Marks of replicas: `1` the master, `*` another of the same length, `X` of another length than
 * what was split, `-` none, `?` offline. Folders: `D` in the master store
 * or in every share store, `d` in others.
 *
 * Redundancy in percent: 100 for each replica, and 100 · good shares / quorum.
 */
import { type Entry, isFile, isFolder, replicasOf, sharesState, type StoreFault } from './tree.ts';
import { isOnline } from './stores.ts';
import { keyFault, type Work } from './work.ts';

export interface ScanRow {
  readonly scheme: string;
  readonly path: string;
  readonly kind: 'file' | 'directory';
  readonly shares: {
    readonly mark: string;
    readonly good: number;
    readonly total: number;
    readonly quorum: number;
    readonly missing: readonly number[];
    readonly offline: readonly number[];
    /** Whether a share key is needed to restore the file from them. */
    readonly isSealed: boolean;
    readonly bad: readonly { readonly store: string; readonly reason: string }[];
  };
  /** Master store → mark. */
  readonly replicas: Readonly<Record<string, string>>;
  /** Rounded down; of files. */
  readonly redundancyPercent: number;
  /** Whether it is less than the scheme promises. */
  readonly isDegraded: boolean;
}

/** One row for a file, one for a folder; both where a file of one store is a folder of another. */
export async function scanEntry(work: Work, entry: Entry): Promise<ScanRow[]> {
  const rows: ScanRow[] = [];
  if (isFolder(entry) && (entry.path !== '' || entry.faults.length > 0))
    rows.push(folderRow(work, entry));
  if (isFile(entry)) rows.push(await fileRow(work, entry));
  return rows;
}

async function fileRow(work: Work, entry: Entry): Promise<ScanRow> {
  const { view, catalogue } = work;
  const { scheme } = view;
  const total = scheme.shareStores.length;
  const replicas = replicasOf(entry);
  const master = replicas[0];
  const state = await sharesState(work, entry);
  const record = catalogue.file(scheme.name, entry.path);
  const isRestorable = state.good.length >= scheme.quorum;
  const bytes = record?.size ?? (isRestorable ? state.plainBytes : undefined) ?? master?.fact.size;
  const marks = entry.masters.map(({ store, fact }) => {
    if (fact?.kind !== 'file') return [store.name, isOnline(store) ? '-' : '?'] as const;
    if (fact.size !== bytes) return [store.name, 'X'] as const;
    return [store.name, store === master?.store ? '1' : '*'] as const;
  });
  const whole = marks.filter(([, mark]) => mark === '1' || mark === '*').length;
  const good = state.good.length;
  const isCommitted = record?.isCommitted ?? false;
  const keyReason = await keyFault(work, state);
  const otherKey =
    keyReason === undefined ? [] : [{ store: state.good[0]!.store.name, reason: keyReason }];
  const wanted = isCommitted || scheme.replicas === 0 ? 0 : 1;
  return {
    scheme: scheme.name,
    path: entry.path,
    kind: 'file',
    shares: {
      mark: otherKey.length === 0 ? state.mark : 'X',
      good,
      total,
      quorum: scheme.quorum,
      missing: state.missing,
      offline: state.offline,
      bad: [...badOf([...state.bad, ...entry.faults]), ...otherKey],
      isSealed: state.good.some(({ head }) => head.trailer),
    },
    replicas: Object.fromEntries(marks),
    redundancyPercent: Math.floor(100 * whole + (100 * good) / scheme.quorum),
    isDegraded:
      entry.faults.length > 0 ||
      otherKey.length > 0 ||
      state.mark !== '*' ||
      whole < wanted ||
      marks.some(([, mark]) => mark === 'X'),
  };
}

function badOf(faults: readonly StoreFault[]): { store: string; reason: string }[] {
  return faults.map(({ store, reason }) => ({ store: store.name, reason }));
}

function folderRow({ view: { scheme } }: Work, entry: Entry): ScanRow {
  const { quorum } = scheme;
  const has = entry.folders.filter(({ fact }) => fact?.kind === 'directory').length;
  const total = entry.folders.length;
  const offline = entry.folders.flatMap(({ store }, number) => (isOnline(store) ? [] : [number]));
  const marks = entry.masters.map(({ store, fact }, index) => {
    if (fact?.kind === 'directory') return [store.name, index === 0 ? 'D' : 'd'];
    return [store.name, isOnline(store) ? '-' : '?'];
  });
  const mark = has === total ? 'D' : has > 0 ? 'd' : '-';
  return {
    scheme: scheme.name,
    path: entry.path,
    kind: 'directory',
    shares: {
      mark,
      good: has,
      total,
      quorum,
      missing: [],
      offline,
      bad: badOf(entry.faults),
      isSealed: false,
    },
    replicas: Object.fromEntries(marks) as Record<string, string>,
    redundancyPercent: 0,
    isDegraded: entry.faults.length > 0,
  };
}
