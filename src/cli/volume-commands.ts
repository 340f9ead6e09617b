/** Verbs about volumes and how they store: volume create, list, policy, grant, revoke; reencode. */
import type { GrantView, ProgressView, ReencodeView, VolumeView, WormView } from '../api/index.ts';
import { errorCode, HoldfastError } from '../base/index.ts';
import { formatDuration, parseDuration } from './durations.ts';
import { plural, table } from './output.ts';
import { ProgressBar } from './progress.ts';
import type { Session } from './session.ts';
import { formatSize } from './sizes.ts';
import { addGroup, addVerb, type Verbs } from './verbs.ts';

const SCHEMES = 'such as rs-4+2, ida-3of5, copy-3, near-4, or several: rs-4+2,copy-1';
const FOR_EVER = 'forever';

export function addVolumeCommands(verbs: Verbs): void {
  const group = addGroup(verbs, 'volume', 'make, list and set volumes');
  addCreateVerb(group);
  addVerb(group, 'list', {
    summary: 'list the volumes',
    examples: ['holdfast volume list'],
    action: async (session: Session) => {
      const volumes = await session.client.call('volume.list', {}, session);
      session.show(volumes, () => volumeTable(volumes));
    },
  });
  addPolicyVerb(group);
  addGrantVerbs(group);
  addReencodeVerb(verbs);
}

interface CreateOptions {
  readonly scheme?: string;
  readonly dedup?: boolean;
  readonly worm?: boolean;
  readonly retain?: string;
}

function addCreateVerb(group: Verbs): void {
  addVerb(group, 'create', {
    summary: 'make a volume: a namespace with keys of its own',
    details: 'Export the recovery kit anew afterwards: older kits do not open it.',
    args: { '<name>': 'a-z, 0-9, "." and "-"' },
    options: {
      '--scheme <scheme>': `${SCHEMES} (default: what fits the stores)`,
      '--no-dedup': 'store equal content each time; nobody learns that it is equal',
      '--worm': 'objects are added, never replaced, and not removed before their time',
      '--retain <time>': 'with --worm: how long, such as 30d (default: forever)',
    },
    examples: [
      'holdfast volume create photos --scheme rs-10+4',
      'holdfast volume create hot --scheme rs-4+2,copy-1',
      'holdfast volume create ledger --worm --retain 3650d',
    ],
    action: async (session: Session, options: CreateOptions, name: string) => {
      const { scheme, dedup, worm, retain } = options;
      if (retain !== undefined && !worm) {
        throw new HoldfastError('HF_BAD_ARGUMENT', '--retain goes with --worm');
      }
      const input = {
        name,
        isDeduplicating: dedup !== false,
        ...(scheme === undefined ? {} : { scheme }),
        ...(worm ? { worm: wormOf(retain ?? FOR_EVER) } : {}),
      };
      const volume = await session.client.call('volume.create', input, session);
      session.show(volume, () => [`made volume ${volume.name} with scheme ${volume.scheme}`]);
    },
  });
}

/** @throws HF_BAD_ARGUMENT. */
function wormOf(retain: string): WormView {
  return { retentionMs: retain === FOR_EVER ? null : parseDuration(retain) };
}

interface PolicyOptions {
  readonly scheme?: string;
  readonly retain?: string;
  readonly apply?: boolean;
}

function addPolicyVerb(group: Verbs): void {
  addVerb(group, 'policy', {
    summary: 'set how a volume stores what it gets from now on',
    details:
      'What is stored already keeps the scheme that it has, unless --apply is given. Then the ' +
      'node stores it anew, and goes on when the command is interrupted; it can be read meanwhile.',
    args: { '<name>': 'the volume' },
    options: {
      '--scheme <scheme>': SCHEMES,
      '--apply': 'store what is there already by the scheme, too',
      '--retain <time>': `of a WORM volume: keep objects longer, such as 90d or ${FOR_EVER}`,
    },
    examples: [
      'holdfast volume policy default --scheme rs-10+4',
      'holdfast volume policy default --scheme rs-4+2 --apply',
      'holdfast volume policy ledger --retain 7300d',
    ],
    action: async (session: Session, options: PolicyOptions, name: string) => {
      const { scheme, retain, apply } = options;
      if (scheme === undefined && retain === undefined && !apply) {
        throw new HoldfastError(
          'HF_BAD_ARGUMENT',
          'say what to set: --scheme, --retain or --apply',
        );
      }
      const input = {
        name,
        ...(scheme === undefined ? {} : { scheme }),
        ...(retain === undefined ? {} : { worm: wormOf(retain) }),
      };
      const volume = await session.client.call('volume.policy', input, session);
      const applied = apply ? await applyPolicy(session, name) : undefined;
      session.show(applied ? { ...volume, applied } : volume, () => [
        ...policyLines(volume, options),
        ...(applied ? [appliedLine(applied)] : []),
      ]);
      return applied && applied.failed > 0 ? 1 : 0;
    },
  });
}

async function applyPolicy(session: Session, name: string): Promise<ReencodeView> {
  using bar = new ProgressBar(session.io, 'apply');
  const onProgress = ({ doneCount, totalCount, bytes }: ProgressView): void =>
    bar.update({ done: doneCount, total: totalCount, bytes });
  try {
    return await session.client.call(
      'volume.apply',
      { name },
      { signal: session.signal, onProgress },
    );
  } catch (error) {
    if (errorCode(error) === 'HF_INTERRUPTED') session.note('the node goes on with it');
    throw error;
  }
}

function policyLines({ name, scheme, worm }: VolumeView, said: PolicyOptions): string[] {
  return [
    ...(said.scheme === undefined ? [] : [`volume ${name} stores with ${scheme} from now on`]),
    ...(said.retain === undefined ? [] : [`volume ${name} keeps objects ${wormText(worm)}`]),
  ];
}

function appliedLine({ reencoded, kept, failed }: ReencodeView): string {
  const parts = [`${plural('object', reencoded)} stored anew`, `${kept} were stored so already`];
  if (failed > 0) parts.push(`${failed} could not be stored anew: see the log, and try again`);
  return parts.join(', ');
}

function wormText(worm: WormView | null): string {
  if (!worm) return '-';
  return worm.retentionMs === null ? FOR_EVER : formatDuration(worm.retentionMs);
}

function addReencodeVerb(verbs: Verbs): void {
  addVerb(verbs, 'reencode', {
    summary: 'store an object by another scheme',
    details: 'Its id, key and content stay, and it can be read meanwhile.',
    args: { '<ref>': 'id, key or content address' },
    options: { '--scheme <scheme>': `${SCHEMES} (needed)` },
    hasVolume: true,
    examples: ['holdfast reencode $id --scheme rs-4+2'],
    action: async (
      session: Session,
      { volume, scheme }: { volume: string; scheme?: string },
      reference: string,
    ) => {
      if (scheme === undefined) throw new HoldfastError('HF_BAD_ARGUMENT', 'name it with --scheme');
      const input = { volume, reference, scheme };
      const object = await session.client.call('object.reencode', input, session);
      session.show(object, () => [`${object.id} is stored with ${object.scheme}`]);
    },
  });
}

function addGrantVerbs(group: Verbs): void {
  const args = {
    '<volume>': 'the volume',
    '<node>': 'its name, its id or the beginning of it; see peers',
  };
  addVerb(group, 'grant', {
    summary: 'give a node the keys of a volume, to serve it',
    details: 'The first three nodes of a cluster have the keys of every volume.',
    args: { '<names...>': 'the volume, and the node: its name, its id or the beginning of it' },
    options: { '--all': 'all volumes that are served here: name the node alone' },
    examples: ['holdfast volume grant photos berlin-2', 'holdfast volume grant --all berlin-2'],
    action: grantVolumes,
  });
  addVerb(group, 'revoke', {
    summary: 'keep a node from getting the keys of a volume again',
    details: 'What it has seen it has seen: its keys are not made anew.',
    args,
    examples: ['holdfast volume revoke photos berlin-2'],
    action: async (session: Session, _: object, name: string, node: string) => {
      const { holders } = await session.client.call('volume.revoke', { name, node }, session);
      session.show({ volume: name, holders }, () => [
        `volume ${name} is granted to ${plural('node', holders.length)}`,
      ]);
    },
  });
}

/** @throws HF_BAD_ARGUMENT. */
async function grantVolumes(
  session: Session,
  { all = false }: { readonly all?: boolean },
  names: readonly string[],
): Promise<void> {
  const wanted = all ? 'with --all name the node alone' : 'name the volume and the node';
  if (names.length !== (all ? 1 : 2)) throw new HoldfastError('HF_BAD_ARGUMENT', wanted);
  const [node, volume] = [names.at(-1)!, names[0]!];
  const { client } = session;
  const served = all ? await client.call('volume.list', {}, session) : [{ name: volume }];
  const grants: GrantView[] = [];
  for (const { name } of served) {
    grants.push(await client.call('volume.grant', { name, node }, session));
  }
  session.show(all ? grants : grants[0], () =>
    grants.map(
      ({ volume: name, holders }) =>
        `volume ${name} is granted to ${plural('node', holders.length)}`,
    ),
  );
}

export function volumeTable(volumes: readonly VolumeView[]): string[] {
  const rows = volumes.map((volume) => [
    volume.name,
    volume.scheme,
    String(volume.objectCount),
    formatSize(volume.contentBytes),
    volume.isDeduplicating ? 'yes' : 'no',
    wormText(volume.worm),
  ]);
  const header = ['volume', 'scheme', 'objects', 'content', 'dedup', 'worm'];
  return table(header, rows, { right: ['objects', 'content'] });
}
