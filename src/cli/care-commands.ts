/** Verbs that look after what is stored: health, scrub, repair, doctor. */
import type { ControlInput, HealthView, ProgressView } from '../api/index.ts';
import { addBenchVerb } from './bench-command.ts';
import { repairFields, scrubText } from './care-views.ts';
import { addDoctorVerb } from './doctor-command.ts';
import { HoldfastError } from '../base/index.ts';
import { fields, plural } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import { formatSize, parseSize } from './sizes.ts';
import { addVerb, type Verbs } from './verbs.ts';

const DEGRADED_EXIT_CODE = 1;
const LOST_EXIT_CODE = 6;
const BAD_EXIT_CODE = 1;

export function addCareCommands(verbs: Verbs): void {
  addVerb(verbs, 'health', {
    summary: 'print what is whole, degraded and lost, and what may still be lost',
    details: 'Exits with 0 when all is whole, 1 when something is degraded, 6 when it is lost.',
    examples: ['holdfast health', 'holdfast health --json'],
    action: async (session: Session) => {
      const health = await withProgress(session, 'health');
      session.show(health, () => healthLines(health));
      const { degraded, lost } = health.stripes;
      return lost > 0 ? LOST_EXIT_CODE : degraded > 0 ? DEGRADED_EXIT_CODE : 0;
    },
  });
  addVerb(verbs, 'scrub', {
    summary: 'read everything on the stores and check it',
    details:
      'It changes nothing; repair makes good what it finds. Exits with 1 when something is bad ' +
      'or a store could not be read to its end.',
    examples: ['holdfast scrub && echo all good'],
    action: async (session: Session) => {
      const found = await withProgress(session, 'scrub');
      session.show(found, () => [
        `checked ${plural('chunk', found.checked)}, ${formatSize(found.checkedBytes)}: ` +
          `${found.bad} bad, ${plural('structure', found.mended)} mended`,
        ...found.failedStores.map((store) => `could not read all of ${store}`),
      ]);
      return found.bad + found.failedStores.length === 0 ? 0 : BAD_EXIT_CODE;
    },
  });
  addVerb(verbs, 'repair', {
    summary: 'make lost and bad shards again',
    details:
      'It may be stopped and started at will. Exits with 1 when stripes still lack shards, ' +
      'with 6 when some cannot be read.',
    options: { '--rate <size>': 'bytes written a second, at most: 50M (default: no limit)' },
    examples: ['holdfast repair', 'holdfast repair --rate 50M'],
    action: async (session: Session, { rate }: { rate?: string }) => {
      const input = rate === undefined ? {} : { rateBytesPerSecond: rateOf(rate) };
      const done = await withProgress(session, 'repair', input);
      session.show(done, () => [
        `repaired ${plural('stripe', done.repaired)}, wrote ${formatSize(done.writtenBytes)}`,
        ...(done.incomplete > 0
          ? [`${plural('stripe', done.incomplete)} still lack shards: add stores (dev add)`]
          : []),
        ...(done.lost > 0
          ? [`${plural('stripe', done.lost)} cannot be read until stores return`]
          : []),
        ...(done.deletedChunks > 0
          ? [`let go of ${plural('chunk', done.deletedChunks)} that nothing wanted`]
          : []),
      ]);
      return done.lost > 0 ? LOST_EXIT_CODE : done.incomplete > 0 ? DEGRADED_EXIT_CODE : 0;
    },
  });
  addDoctorVerb(verbs);
  addBenchVerb(verbs);
}

/** @throws HF_BAD_ARGUMENT. */
function rateOf(text: string): number {
  const bytes = parseSize(text);
  if (bytes > 0) return bytes;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'at a rate of 0 repair would never end');
}

/** Calls a method that takes its time. */
async function withProgress<Method extends 'health' | 'scrub' | 'repair'>(
  { client, io, signal }: Session,
  method: Method,
  input: ControlInput<Method> = {},
) {
  using bar = new ProgressBar(io, method);
  const onProgress = ({ doneCount, totalCount, bytes }: ProgressView) =>
    bar.update({ done: doneCount, total: totalCount, bytes });
  return await client.call(method, input, { signal, onProgress });
}

/** Only what is whole bears what the layout promises. */
function survivals({ survives }: HealthView): string {
  return survives.map(({ level, count }) => plural(level, count)).join(', or ');
}

function nodesLine({ nodes }: HealthView): string | undefined {
  if (nodes.length === 0) return undefined;
  const alive = nodes.filter(({ state }) => state === 'self' || state === 'alive');
  const home = nodes.find(({ isHome }) => isHome);
  return `${alive.length} of ${nodes.length} alive; home: ${home?.name ?? 'not known'}`;
}

function healthLines(health: HealthView): string[] {
  const { ok, degraded, lost } = health.stripes;
  const away = health.devices.filter(({ state }) => state === 'failed' || state === 'missing');
  const spares = Object.entries(health.bySpare)
    .filter(([spare]) => Number(spare) >= 0)
    .map(([spare, count]) => `${count} may lose ${plural('store', Number(spare))} more`)
    .join(', ');
  const isNodeAway = health.nodes.some(({ state }) => state !== 'self' && state !== 'alive');
  return [
    ...fields({
      stripes: `${ok} ok, ${degraded} degraded, ${lost} lost`,
      degraded: spares === '' ? undefined : spares,
      away:
        isNodeAway && degraded + lost > 0
          ? 'shards on nodes that are away count as missing until they are back'
          : undefined,
      lost: lost > 0 ? 'they cannot be read until stores return' : undefined,
      'may be lost': degraded + lost > 0 ? undefined : survivals(health),
      stores: `${health.devices.length - away.length} of ${health.devices.length} here`,
      nodes: nodesLine(health),
      'bad chunks': health.badChunks || undefined,
      misplaced: health.misplaced || undefined,
      'unnamed chunks': health.unnamedChunks || undefined,
      ...repairFields(health.repair),
      scrub: scrubText(health.devices),
    }),
    ...health.warnings.map((line) => `note: ${line}`),
    ...(degraded > 0
      ? ['next: bring stores back or add some (dev add), then: holdfast repair']
      : []),
  ];
}
