/** Verbs about the node itself: up, down, status, metrics, key export. */
import fs from 'node:fs/promises';
import type { StatusView } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import { repairFields, scrubText } from './care-views.ts';
import { peerTable } from './cluster-commands.ts';
import { deviceTable } from './device-commands.ts';
import { fields, isoDate } from './output.ts';
import type { Session } from './session.ts';
import { addUpVerb } from './up-command.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';
import { volumeTable } from './volume-commands.ts';

const DOWN_TIMEOUT_MS = 60_000;
const DOWN_CHECK_MS = 50;

export function addNodeCommands(verbs: Verbs): void {
  addUpVerb(verbs);
  addVerb(verbs, 'down', {
    summary: 'stop the node, and wait until it has stopped',
    details: 'What is under way is finished first.',
    examples: ['holdfast down'],
    action: stopNode,
  });
  addVerb(verbs, 'status', {
    summary: 'print what runs: volumes, stores, nodes of the cluster, repair and scrub',
    examples: ['holdfast status', 'holdfast status --json'],
    action: async (session: Session) => {
      const status = await session.client.call('status', {}, session);
      session.show(status, () => statusLines(status));
    },
  });
  addVerb(verbs, 'metrics', {
    summary: 'print what the node has counted since it started, one line each',
    details: 'Refused connections, records and changes are among it: name{label="value"} count.',
    examples: ['holdfast metrics', 'holdfast metrics --json', 'holdfast metrics | grep refused'],
    action: async (session: Session) => {
      const counted = await session.client.call('metrics', {}, session);
      const series = Object.entries(counted).toSorted(([one], [other]) => (one < other ? -1 : 1));
      session.show(counted, () => series.map(([name, value]) => `${name} ${value}`));
      const isEmpty = series.length === 0 && !session.isJson;
      if (isEmpty) session.note('nothing was counted yet: this node has met no others');
    },
  });
  addVerb(addGroup(verbs, 'key', 'save the keys'), 'export', {
    summary: 'write the recovery kit: with it and the stores, everything comes back',
    details:
      'Whoever has the kit and the stores can read everything: keep it apart from the stores. ' +
      'Export it anew when a volume has been made.',
    args: { '[file]': 'where to; readable by you only; - is standard output (the default)' },
    examples: ['holdfast key export kit.txt', 'holdfast key export | lp'],
    action: exportKit,
  });
}

function statusLines(status: StatusView): string[] {
  return [
    ...fields({
      version: status.version,
      name: status.name,
      node: status.nodeId,
      cluster: status.clusterId,
      data: status.dataPath,
      process: status.processId,
      started: isoDate(status.startedAtMs),
      ...repairFields(status.repair),
      scrub: scrubText(status.devices),
    }),
    '',
    ...volumeTable(status.volumes),
    '',
    ...deviceTable(status.devices),
    ...(status.nodes.length === 0 ? [] : ['', ...peerTable(status.nodes)]),
    ...status.warnings.map((line, index) => `${index === 0 ? '\n' : ''}warning: ${line}`),
  ];
}

export async function stopNode(session: Session): Promise<void> {
  const { client, io, socketPath, signal } = session;
  const { processId } = await client.call('stop', {}, { signal });
  const untilMs = io.clock.monotonic() + DOWN_TIMEOUT_MS;
  while ((await isThere(socketPath)) || (await isRunning(processId))) {
    if (io.clock.monotonic() > untilMs) {
      const message = `the node, process ${processId}, has not stopped after a minute`;
      throw new HoldfastError('HF_TIMEOUT', message);
    }
    await io.clock.sleep(DOWN_CHECK_MS, { signal });
  }
  session.show({ isStopped: true }, () => ['the node has stopped']);
}

async function isThere(file: string): Promise<boolean> {
  return await fs.access(file).then(
    () => true,
    () => false,
  );
}

/** False also for a process that has ended and waits for its parent to notice. */
async function isRunning(processId: number): Promise<boolean> {
  if (processId === process.pid) return false;
  try {
    process.kill(processId, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const stat = await fs.readFile(`/proc/${processId}/stat`, 'utf8').catch(() => '');
  return !/^\d+ \(.*\) [ZX] /s.test(stat);
}

async function exportKit(session: Session, _: object, file: string | undefined): Promise<void> {
  const { client, signal } = session;
  const target = file === undefined || file === '-' ? undefined : session.resolve(file);
  // Before the node notes that a kit was exported.
  await using handle = target === undefined ? undefined : await createSecret(target);
  try {
    const { kit } = await client.call('key.export', {}, { signal });
    if (handle) {
      await handle.writeFile(kit);
      await handle.sync();
    } else {
      session.io.stdout.write(session.isJson ? `${JSON.stringify({ kit })}\n` : kit);
    }
  } catch (error) {
    if (target !== undefined) await fs.rm(target, { force: true });
    throw error;
  }
  const advice = 'keep it apart from the stores: with both, everything can be read';
  if (target === undefined) session.note(`holdfast: this is the recovery kit; ${advice}`);
  else session.show({ path: target }, () => [`the recovery kit is in ${target}`, advice]);
}

/** @throws HF_EXISTS. */
async function createSecret(target: string): Promise<fs.FileHandle> {
  try {
    return await fs.open(target, 'wx', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new HoldfastError('HF_EXISTS', `${target} exists; choose another name`, { cause: error });
  }
}
