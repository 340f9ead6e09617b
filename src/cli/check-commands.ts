/**
 * `dev check` and `dev salvage`: a device that no node has open is read by this very process, with
 * the code that wrote it.
 */
import { type ClusterId, type DeviceId, HoldfastError, isHexId, toHex } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import type { CheckFinding, CheckReport, RepairReport, SalvageReport } from '../store/index.ts';
import { plural } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import { formatSize } from './sizes.ts';
import { addVerb, type Verbs } from './verbs.ts';

/** As of HF_CORRUPT. */
const BAD_EXIT_CODE = 7;

export function addCheckVerbs(group: Verbs): void {
  addVerb(group, 'check', {
    summary: 'read a store that no node has open, and list all damage',
    details:
      'It changes nothing unless told to. Exits with 7 when something is bad, with 8 when a node ' +
      'has the store open (see scrub for that).',
    args: { '<device>': 'its path' },
    options: {
      '--repair': 'write bad copies again from good ones, and mark chunks that are bad',
    },
    examples: ['holdfast dev check /dev/sdb', 'holdfast dev check /dev/sdb --repair'],
    action: checkDevice,
  });
  addVerb(group, 'salvage', {
    summary: 'bring back what a store still holds after its index is lost',
    details:
      'For a device that cannot be opened, or that lost parts of its index. Chunks are looked ' +
      'for on the whole device and taken in where they lie. No node may have it open.',
    args: { '<device>': 'its path' },
    options: {
      '--cluster <id>': "the cluster that it belongs to (default: the node's)",
      '--store <id>': 'its own id, if no superblock is left (default: as the node knows it)',
    },
    examples: ['holdfast dev salvage /dev/sdb', 'holdfast dev attach /dev/sdb'],
    action: salvageDevice,
  });
}

async function checkDevice(
  session: Session,
  { repair = false }: { repair?: boolean },
  place: string,
): Promise<number> {
  const report = await check(session, session.resolve(place));
  const isWhole = report.findings.length === 0 && report.mountError === undefined;
  const repaired =
    repair && !isWhole ? await repairDevice(session, session.resolve(place)) : undefined;
  session.show({ ...plainReport(report), repair: repaired ? plainRepair(repaired) : null }, () => [
    ...reportLines(report),
    ...(repaired ? repairLines(repaired) : []),
  ]);
  const isGood = isWhole || (repaired !== undefined && lostBy(repaired) === 0);
  return isGood ? 0 : BAD_EXIT_CODE;
}

async function check(session: Session, path: string): Promise<CheckReport> {
  const { checkStore, openDevice } = await stores();
  const env = realEnv();
  await using device = await openDevice({ env, path });
  using bar = new ProgressBar(session.io, 'check');
  return await checkStore({ env, device, ...watching(session, bar) });
}

async function repairDevice(session: Session, path: string): Promise<RepairReport> {
  const { repairStore, openDevice } = await stores();
  const env = realEnv();
  const device = await openDevice({ env, path });
  using bar = new ProgressBar(session.io, 'repair');
  return await repairStore({ env, device, ...watching(session, bar) });
}

async function salvageDevice(
  session: Session,
  { cluster, store }: { cluster?: string; store?: string },
  place: string,
): Promise<number> {
  const path = session.resolve(place);
  const node = await session.io.loadNode();
  const known = await node.readKnownStores(session.dataPath);
  const clusterId = cluster === undefined ? known?.clusterId : idOf<ClusterId>(cluster);
  if (clusterId === undefined) {
    const message = `${session.dataPath} has no keys; name the cluster with --cluster`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  const id = store === undefined ? known?.idAt(path) : idOf<DeviceId>(store);
  const { salvageStore, openDevice } = await stores();
  const env = realEnv();
  const device = await openDevice({ env, path });
  using bar = new ProgressBar(session.io, 'salvage');
  const about = { env, device, clusterId, id, ...watching(session, bar) };
  const report = await salvageStore(about);
  const incompleteIds = report.incompleteIds.map((each) => toHex(each));
  session.show({ ...report, incompleteIds }, () => salvageLines(report, path));
  return report.unreadableBlocks > 0 ? BAD_EXIT_CODE : 0;
}

/** @throws HF_BAD_ARGUMENT. */
function idOf<Id extends string>(text: string): Id {
  if (isHexId(text)) return text as Id;
  throw new HoldfastError('HF_BAD_ARGUMENT', `"${text}" is no id: 32 hexadecimal digits`);
}

function salvageLines(report: SalvageReport, path: string): string[] {
  const { adopted, adoptedBytes, chunksBefore, incomplete, unreadableBlocks } = report;
  return [
    `scanned ${formatSize(report.scannedBytes)} of store ${report.id}: ` +
      `${plural('chunk', adopted)} found again, ${formatSize(adoptedBytes)}; ` +
      `${plural('chunk', chunksBefore)} were not lost`,
    ...(incomplete > 0
      ? [`${plural('chunk', incomplete)} are not whole: of deleted ones, or lost here`]
      : []),
    ...(report.refused > 0
      ? [`${plural('chunk', report.refused)} were left out: the index has no room`]
      : []),
    ...(unreadableBlocks > 0
      ? [`${plural('block', unreadableBlocks)} could not be read: replace the disk soon`]
      : []),
    `next: holdfast dev attach ${path}, then: holdfast repair`,
  ];
}

/** Only these verbs need them, so they are loaded when asked for. */
async function stores() {
  const [store, device] = await Promise.all([
    import('../store/index.ts'),
    import('../device/index.ts'),
  ]);
  return { ...store, openDevice: device.openDevice };
}

function watching({ signal }: Session, bar: ProgressBar) {
  const onProgress = (done: number, total: number) => bar.update({ done, total, bytes: done });
  return { signal, onProgress };
}

function lostBy({ damage, scrub }: RepairReport): number {
  return damage.length + scrub.findings.filter(({ kind }) => kind !== 'mended').length;
}

function reportLines(report: CheckReport): string[] {
  const { chunks, badChunks, chunkBytes } = report.totals;
  const count = report.findings.length + report.unlistedCount;
  return [
    ...report.findings.map(findingLine),
    ...(report.unlistedCount > 0 ? [`… and ${report.unlistedCount} more`] : []),
    ...report.notes.map((line) => `note: ${line}`),
    ...(report.mountError === undefined ? [] : [`it cannot be opened: ${report.mountError}`]),
    `checked ${report.deviceName}: ${plural('chunk', chunks)}, ${formatSize(chunkBytes)}; ` +
      (count === 0 ? 'all is whole' : `${plural('finding', count)}, ${badChunks} chunks bad`),
  ];
}

/** "lost: chunk, page 3, block 4242 (+16), byte 17375232: …" */
function findingLine({ where, ranges, what, isMended, chunkId, page }: CheckFinding): string {
  const places = ranges.map(({ block, blocks, offsetBytes }) => {
    const length = blocks > 1 ? ` (${blocks} blocks)` : '';
    return `block ${block}${length} at byte ${offsetBytes}`;
  });
  const parts = [
    chunkId ? `${where} ${toHex(chunkId)}` : where,
    ...(page === undefined ? [] : [`page ${page}`]),
    ...places,
  ];
  return `${isMended ? 'mendable' : 'lost'}: ${parts.join(', ')}: ${what}`;
}

function repairLines(repaired: RepairReport): string[] {
  const { findings } = repaired.scrub;
  return [
    ...repaired.damage.map((line) => `lost: ${line}`),
    ...findings.map((finding) => {
      if (finding.kind === 'mended') return `mended: ${finding.what}`;
      return `marked bad: chunk ${toHex(finding.id)}: ${finding.reason}`;
    }),
    lostBy(repaired) === 0
      ? 'repaired: nothing was lost'
      : 'repaired what could be; what is lost the node makes again from other stores: repair',
  ];
}

function plainReport({ findings, ...report }: CheckReport) {
  return { ...report, findings: findings.map(plainIds) };
}

function plainIds<Finding extends { readonly chunkId?: CheckFinding['chunkId'] }>({
  chunkId,
  ...finding
}: Finding) {
  return chunkId ? { ...finding, chunkId: toHex(chunkId) } : finding;
}

function plainRepair({ damage, scrub }: RepairReport) {
  const findings = scrub.findings.map((finding) =>
    'id' in finding ? { ...finding, id: toHex(finding.id) } : finding,
  );
  return { damage, scrub: { ...scrub, findings } };
}
