/** `doctor`: looks at what a node needs, with or without one that runs, and says what to do. */
import fs from 'node:fs/promises';
import type { StatusView } from '../api/index.ts';
import { errorCode, errorMessage, GiB } from '../base/index.ts';
import type { Session } from './session.ts';
import { formatSize } from './sizes.ts';
import { addVerb, type Verbs } from './verbs.ts';

const NODE_MAJOR_MIN = 24;
/** Threads that serve the disks; bin/holdfast.js sets more than Node's own 4. */
const THREADS_MIN = 8;
const FREE_BYTES_WARN = GiB;
const FREE_BYTES_FAIL = GiB / 16;

interface Finding {
  readonly state: 'ok' | 'warn' | 'fail';
  readonly what: string;
  readonly advice?: string;
}

export function addDoctorVerb(verbs: Verbs): void {
  addVerb(verbs, 'doctor', {
    summary: 'check what a node needs, and say what to do',
    details: 'Exits with 1 when something fails; warnings do not count.',
    examples: ['holdfast doctor', 'holdfast doctor --json'],
    action: async (session: Session) => {
      const findings = [
        nodeVersion(),
        threadPool(session),
        ...(await dataDirectory(session)),
        ...(await runningNode(session)),
      ];
      session.show(findings, () =>
        findings.flatMap(({ state, what, advice }) => [
          `${state.padEnd(4)}  ${what}`,
          ...(advice === undefined ? [] : [`      -> ${advice}`]),
        ]),
      );
      return findings.some(({ state }) => state === 'fail') ? 1 : 0;
    },
  });
}

function nodeVersion(): Finding {
  const what = `Node.js ${process.versions.node}`;
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN) return { state: 'ok', what };
  return { state: 'fail', what, advice: `install Node.js ${NODE_MAJOR_MIN} or newer` };
}

function threadPool({ io }: Session): Finding {
  const size = Number(io.variables['UV_THREADPOOL_SIZE'] ?? 4);
  const what = `${size} threads serve the disks`;
  if (size >= THREADS_MIN) return { state: 'ok', what };
  return { state: 'warn', what, advice: `leave UV_THREADPOOL_SIZE alone, or set it to 32` };
}

async function dataDirectory({ dataPath }: Session): Promise<Finding[]> {
  try {
    const { mode } = await fs.stat(dataPath);
    const { bavail, bsize } = await fs.statfs(dataPath);
    return [directoryMode(dataPath, mode & 0o777), freeSpace(dataPath, bavail * bsize)];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      const what = `there is no data directory ${dataPath}`;
      return [{ state: 'warn', what, advice: 'holdfast up makes it; or name it with --data' }];
    }
    return [{ state: 'fail', what: errorMessage(error), advice: 'make it readable for you' }];
  }
}

function directoryMode(dataPath: string, mode: number): Finding {
  const what = `data directory ${dataPath}, mode ${mode.toString(8).padStart(4, '0')}`;
  if ((mode & 0o077) === 0) return { state: 'ok', what };
  return { state: 'warn', what, advice: `others may look into it: chmod 700 ${dataPath}` };
}

function freeSpace(dataPath: string, freeBytes: number): Finding {
  const what = `${formatSize(freeBytes)} free under ${dataPath}`;
  const advice = 'make room: the node keeps its lists there';
  if (freeBytes < FREE_BYTES_FAIL) return { state: 'fail', what, advice };
  if (freeBytes < FREE_BYTES_WARN) return { state: 'warn', what, advice };
  return { state: 'ok', what };
}

async function runningNode({ client, signal, socketPath }: Session): Promise<Finding[]> {
  let status: StatusView;
  try {
    status = await client.call('status', {}, { signal });
  } catch (error) {
    const what = errorMessage(error);
    if (errorCode(error) === 'HF_NOT_RUNNING') return [{ state: 'warn', what }];
    return [
      { state: 'fail', what, advice: `look at the node that should answer on ${socketPath}` },
    ];
  }
  return [
    { state: 'ok', what: `node ${status.version} answers, process ${status.processId}` },
    ...status.devices.map(storeFinding),
    // Those of the node: the recovery kit, domains that share a disk.
    ...status.warnings
      .filter((line) => !status.devices.some(({ path }) => line.includes(path)))
      .map((what): Finding => ({ state: 'warn', what })),
  ];
}

function storeFinding({
  path,
  state,
  reason,
  sizeBytes,
  usedBytes,
}: StatusView['devices'][number]) {
  const used = sizeBytes > 0 ? Math.round((usedBytes / sizeBytes) * 100) : 0;
  if (state === 'active') {
    return { state: 'ok', what: `store ${path}, ${used} % used` } as const;
  }
  const what = `store ${path} is ${state}${reason === undefined ? '' : `: ${reason}`}`;
  if (state === 'draining') return { state: 'warn', what } as const;
  if (reason === 'detached') {
    return { state: 'warn', what, advice: `bring it back: holdfast dev attach ${path}` } as const;
  }
  const advice = 'bring it back and restart the node; or dev add another, then repair';
  return { state: 'fail', what, advice } as const;
}
