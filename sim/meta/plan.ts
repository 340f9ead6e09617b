/**
 * All that a seed decides before it begins: the machines, how bad everything is, what each client
 * asks and when what goes wrong. A plan is data, so that a failing one can be made smaller: what
 * was left out changes nothing that was drawn for the rest.
 */
import type { SeededRandom } from '../random.ts';
import type { EngineName } from './engine.ts';
import type { NetRates } from './net.ts';
import { FIRST_DIRECTORIES, type NodeName, type TreeCall } from './tree-model.ts';

export interface PlannedCall {
  readonly call: TreeCall;
  /** Before it is asked. */
  readonly thinkMs: number;
  /** Done, with its like beside it, while its client holds the directory. */
  readonly isHeld?: boolean;
}

/** One put of a stripe by a writer: named, stored, committed, confirmed, and perhaps removed. */
export interface PlannedPut {
  readonly writer: number;
  /** Few, so that they meet. */
  readonly stripe: number;
  readonly inode: number;
  readonly pauseMsMax: number;
  /** The writer's run ends before this step. */
  readonly diesAtStep: number | undefined;
  /** And what it had begun goes on, after a while. */
  readonly isZombie: boolean;
  readonly removedAfterMs: number | undefined;
}

export type Trouble =
  | { readonly kind: 'crash'; readonly machine: number; readonly awayMs: number }
  | { readonly kind: 'pause'; readonly machine: number; readonly ms: number }
  | {
      readonly kind: 'partition';
      readonly machine: number;
      readonly ms: number;
      readonly ways: { readonly out: boolean; readonly in: boolean };
    }
  | { readonly kind: 'change'; readonly machine: number }
  | { readonly kind: 'seize'; readonly machine: number; readonly cell: number }
  | { readonly kind: 'full'; readonly machine: number; readonly ms: number }
  /** A cell gives slots at its lower or its upper end to its neighbour. */
  | {
      readonly kind: 'move';
      readonly cell: number;
      readonly end: 'lower' | 'upper';
      readonly slotCount: number;
    };

export type PlannedTrouble = Trouble & { readonly atMs: number };

export interface LogRates {
  readonly delayMsMax: number;
  readonly lostRequestPercent: number;
  readonly lostReplyPercent: number;
  readonly overtakingPercent: number;
  /** Of etcd: requests that arrive when nobody waits for them any more. */
  readonly latePercent: number;
  readonly lateMsMax: number;
}

export interface Plan {
  readonly seed: number;
  /** What clients do: names in a tree, or stripes with references. */
  readonly kind: 'tree' | 'stripes';
  /** Whose tree: the simulator's own, on bare rows, or that of `meta/namespace`. */
  readonly tree: 'rows' | 'namespace';
  readonly engine: EngineName;
  /** What it is changed to, where that is among the troubles. */
  readonly nextEngine: EngineName;
  readonly machineCount: number;
  /** Each machine's clock against the true one. */
  readonly clockRates: readonly number[];
  /** Where the slots are cut: cell i owns from cuts[i] to cuts[i + 1]. */
  readonly cuts: readonly number[];
  readonly slots: ReadonlyMap<NodeName, number>;
  readonly net: NetRates;
  readonly log: LogRates;
  readonly commitDelayMsMax: number;
  /** How likely whoever is asked for a cell that it does not have takes it. */
  readonly seizeChance: number;
  readonly hasReplicas: boolean;
  /** How likely a client asks somebody at random. */
  readonly strayChance: number;
  readonly clients: readonly (readonly PlannedCall[])[];
  readonly puts: readonly PlannedPut[];
  readonly troubles: readonly PlannedTrouble[];
}

/** Fast ones make snapshots, which are due each minute, a part of the run. */
const CLOCK_RATES = [1, 1, 1, 1, 0.5, 0.9, 1.1, 2, 100] as const;

/** Of so many seeds one is about stripes, and one about directories that clients hold. */
export const KINDS_EVERY = 8;
const HOLDERS_AT = 2;
/** Of the seeds, those that change the engine, perhaps in several tries. */
const CHANGE_CHANCE = 0.2;

export const SLOT_COUNT = 4096;
const NAMES = ['x', 'y'] as const;
/** From then on all is well. */
export const TROUBLE_ENDS_MS = 2500;

export function drawPlan(seed: number, random: SeededRandom): Plan {
  const shape = random.fork('shape');
  const machineCount = shape.between(3, 5);
  const kind = seed % KINDS_EVERY === 0 ? 'stripes' : 'tree';
  const isHeld = seed % KINDS_EVERY === HOLDERS_AT;
  // Sessions are rows of the cell, so that references have one here.
  const cuts = cutsOf(kind === 'stripes' ? 1 : shape.pick([1, 2, 2, 2, 3, 3]), shape);
  const slots = new Map<NodeName, number>();
  const draw = isHeld ? drawHolders : drawClients;
  const clients = draw(random.fork('clients'), { cuts, slots });
  const trees = isHeld ? (['namespace'] as const) : (['rows', 'rows', 'namespace'] as const);
  return {
    seed,
    kind,
    tree: kind === 'stripes' ? 'rows' : shape.pick(trees),
    engine: shape.pick(['memory', 'memory', 'memory', 'memory', 'memory', 'etcd']),
    nextEngine: shape.pick(['memory', 'memory', 'etcd']),
    machineCount,
    clockRates: Array.from({ length: machineCount }, () => shape.pick(CLOCK_RATES)),
    cuts,
    slots,
    net: {
      loss: shape.pick([0, 0, 0.03, 0.1]),
      doubling: shape.pick([0, 0, 0.08, 0.35]),
      echoMsMax: shape.pick([0, 100, 500]),
      delayMsMax: shape.pick([2, 8, 20]),
      lateness: shape.pick([0, 0, 0.05]),
    },
    log: {
      delayMsMax: shape.pick([1, 5, 15]),
      lostRequestPercent: shape.pick([0, 0, 2]),
      lostReplyPercent: shape.pick([0, 0, 2, 5]),
      overtakingPercent: shape.pick([0, 0, 30]),
      latePercent: shape.pick([0, 0, 3]),
      lateMsMax: 2000,
    },
    commitDelayMsMax: shape.pick([0, 3, 10]),
    seizeChance: shape.pick([0.05, 0.2, 0.4]),
    hasReplicas: shape.chance(0.5),
    strayChance: shape.pick([0.05, 0.3]),
    clients: kind === 'tree' ? clients : [],
    puts: kind === 'stripes' ? drawPuts(random.fork('puts')) : [],
    troubles: drawTroubles(random.fork('troubles'), { machineCount, cellCount: cuts.length - 1 }),
  };
}

function cutsOf(cellCount: number, random: SeededRandom): number[] {
  const inner = Array.from({ length: cellCount - 1 }, (_, index) => {
    const even = ((index + 1) * SLOT_COUNT) / cellCount;
    return Math.floor(even) + random.between(-100, 100);
  });
  return [0, ...inner, SLOT_COUNT];
}

interface Weights {
  readonly do: TreeCall['do'];
  readonly weight: number;
}

const CALLS: readonly Weights[] = [
  { do: 'create', weight: 5 },
  { do: 'lookup', weight: 5 },
  { do: 'rename', weight: 6 },
  { do: 'unlink', weight: 3 },
  { do: 'link', weight: 3 },
  { do: 'list', weight: 3 },
  { do: 'mkdir', weight: 3 },
  { do: 'rmdir', weight: 2 },
];

/** Few calls again and again, which meet in ways that chance alone seldom finds. */
interface Script {
  readonly nodes: readonly NodeName[];
  readonly first: readonly TreeCall[];
  readonly again: readonly TreeCall[];
}

function entry(at: string): { directory: NodeName; name: string } {
  const [directory = '', name = ''] = at.split('/');
  return { directory, name };
}

function renaming(from: string, to: string): TreeCall {
  return { do: 'rename', at: entry(from), to: entry(to), mayReplace: true };
}

const SCRIPTS: readonly Script[] = [
  // Two directories, each into the other: together they would make a circle.
  {
    nodes: ['d4', 'd5'],
    first: [
      { do: 'mkdir', at: entry('d0/x'), node: 'd4' },
      { do: 'mkdir', at: entry('d1/x'), node: 'd5' },
    ],
    again: [
      renaming('d0/x', 'd5/y'),
      renaming('d1/x', 'd4/y'),
      renaming('d5/y', 'd0/x'),
      renaming('d4/y', 'd1/x'),
      { do: 'lookup', at: entry('d0/x') },
    ],
  },
  // A link that comes and goes: what is late meets rows that look as they did.
  {
    nodes: ['f4'],
    first: [{ do: 'create', at: entry('d0/x'), node: 'f4' }],
    again: [
      { do: 'link', at: entry('d1/x'), node: 'f4' },
      { do: 'unlink', at: entry('d1/x') },
      { do: 'link', at: entry('d1/x'), node: 'f4' },
      { do: 'unlink', at: entry('d1/x') },
      { do: 'lookup', at: entry('d0/x') },
    ],
  },
];

interface Places {
  readonly cuts: readonly number[];
  readonly slots: Map<NodeName, number>;
}

function placeDirectories(random: SeededRandom, { cuts, slots }: Places): void {
  for (const [index, directory] of FIRST_DIRECTORIES.entries()) {
    slots.set(directory, drawSlot(random, cuts, index % (cuts.length - 1)));
  }
}

/**
 * Clients that hold directories now and then, and do in them what none of the other directories
 * has a part in: a holder says that it is done before it is.
 */
function drawHolders(random: SeededRandom, places: Places): PlannedCall[][] {
  placeDirectories(random, places);
  const kinds = ['create', 'create', 'unlink', 'rename'] as const;
  const directories = FIRST_DIRECTORIES.slice(0, random.between(1, 2));
  const held = directories.map(
    (directory) => new CallDrawer(random, { ...places, kinds, directories: [directory] }),
  );
  const free = new CallDrawer(random, {
    ...places,
    kinds: [...kinds, 'list', 'list'],
    directories,
  });
  const thinkMsMax = random.pick([5, 30, 150]);
  const planned = (drawer: CallDrawer, isHeld: boolean): PlannedCall => ({
    call: drawer.draw(),
    thinkMs: random.below(thinkMsMax),
    isHeld,
  });
  return Array.from({ length: random.between(2, 4) }, () =>
    Array.from({ length: random.between(3, 5) }, () => {
      if (random.chance(0.4)) return [planned(free, false)];
      const drawer = random.pick(held);
      return Array.from({ length: random.between(1, 3) }, () => planned(drawer, true));
    }).flat(),
  );
}

/** Each seed likes some calls more than others. */
function drawClients(random: SeededRandom, places: Places): PlannedCall[][] {
  placeDirectories(random, places);
  const clientCount = random.between(3, 4);
  const callCount = random.between(8, 13);
  const thinkMsMax = random.pick([5, 30, 150]);
  const calls = drawCalls(random, places, clientCount * callCount);
  return Array.from({ length: clientCount }, (_, client) =>
    calls
      .filter((__, index) => index % clientCount === client)
      .map((call) => ({ call, thinkMs: random.below(thinkMsMax) })),
  );
}

/** In about the order in which they will be asked. */
function drawCalls(random: SeededRandom, places: Places, count: number): TreeCall[] {
  const script = random.pick([undefined, undefined, undefined, undefined, ...SCRIPTS]);
  if (script) {
    for (const node of script.nodes) places.slots.set(node, drawAnySlot(random, places.cuts));
    const rest = count - script.first.length;
    return [...script.first, ...Array.from({ length: rest }, () => random.pick(script.again))];
  }
  const kinds = CALLS.flatMap((each) =>
    Array.from<TreeCall['do']>({ length: each.weight * random.pick([0, 1, 1, 2]) }).fill(each.do),
  );
  const directories = FIRST_DIRECTORIES.slice(0, random.between(1, FIRST_DIRECTORIES.length));
  const some = ['create', 'lookup', ...kinds] as const;
  const drawer = new CallDrawer(random, { ...places, kinds: some, directories });
  return Array.from({ length: count }, () => drawer.draw());
}

function drawAnySlot(random: SeededRandom, cuts: readonly number[]): number {
  return drawSlot(random, cuts, random.below(cuts.length - 1));
}

function drawSlot(random: SeededRandom, cuts: readonly number[], cell: number): number {
  return random.between(cuts[cell]!, cuts[cell + 1]! - 1);
}

interface DrawerOptions extends Places {
  readonly kinds: readonly TreeCall['do'][];
  /** Those that are there from the start. */
  readonly directories: readonly NodeName[];
}

/** Draws calls in about the order in which they are asked, on nodes that there may be by then. */
class CallDrawer {
  readonly #random: SeededRandom;
  readonly #options: DrawerOptions;
  readonly #directories: NodeName[];
  readonly #files: NodeName[] = [];

  constructor(random: SeededRandom, options: DrawerOptions) {
    this.#random = random;
    this.#options = options;
    this.#directories = [...options.directories];
  }

  /** Every node that is not there from the start has a slot. */
  get #nextNode(): number {
    return this.#options.slots.size;
  }

  draw(): TreeCall {
    const kind = this.#random.pick(this.#options.kinds);
    const at = this.#entry();
    if (kind === 'list') return { do: kind, directory: at.directory };
    if (kind === 'create') return { do: kind, at, node: this.#newFile(at.directory) };
    if (kind === 'mkdir') return { do: kind, at, node: this.#newDirectory() };
    if (kind === 'rename') {
      return { do: kind, at, to: this.#entry(), mayReplace: this.#random.chance(0.7) };
    }
    if (kind !== 'link') return { do: kind, at };
    const node = this.#files.at(-1 - this.#random.below(4));
    return node === undefined ? { do: 'lookup', at } : { do: kind, at, node };
  }

  #entry(): { directory: NodeName; name: string } {
    // The directories that were made last count as much as the first ones.
    const directory = this.#random.pick(
      this.#random.chance(0.5) ? this.#directories : this.#directories.slice(-3),
    );
    return { directory, name: this.#random.pick(NAMES) };
  }

  /** A file has its directory's slot, as in a namespace. */
  #newFile(directory: NodeName): NodeName {
    const node = `f${this.#nextNode}`;
    this.#options.slots.set(node, this.#options.slots.get(directory)!);
    this.#files.push(node);
    return node;
  }

  #newDirectory(): NodeName {
    const { cuts, slots } = this.#options;
    const node = `d${this.#nextNode}`;
    slots.set(node, drawAnySlot(this.#random, cuts));
    this.#directories.push(node);
    return node;
  }
}

function drawPuts(random: SeededRandom): PlannedPut[] {
  const writerCount = random.between(2, 3);
  const pauseMsMax = random.pick([5, 30, 100]);
  const deathChance = random.pick([0, 0.1, 0.4]);
  return Array.from({ length: random.between(10, 25) }, (_, inode) => ({
    writer: random.below(writerCount),
    stripe: random.below(2),
    inode: inode + 2,
    pauseMsMax,
    diesAtStep: random.chance(deathChance) ? random.below(4) : undefined,
    isZombie: random.chance(0.5),
    removedAfterMs: random.chance(0.7) ? random.below(pauseMsMax) : undefined,
  }));
}

function drawTroubles(
  random: SeededRandom,
  { machineCount, cellCount }: { machineCount: number; cellCount: number },
): PlannedTrouble[] {
  const kinds: Trouble['kind'][] = [];
  const all: Trouble['kind'][] = ['crash', 'pause', 'partition', 'seize', 'seize', 'full', 'move'];
  for (const kind of all) for (let n = random.below(3); n > 0; n -= 1) kinds.push(kind);
  if (random.chance(CHANGE_CHANCE)) kinds.push('change');
  if (kinds.length === 0) return [];
  const pauseMs = random.pick([60, 150, 400]);
  const troubles: PlannedTrouble[] = [];
  for (let atMs = random.below(pauseMs); atMs < TROUBLE_ENDS_MS;) {
    const trouble = drawTrouble(random.pick(kinds), random, { machineCount, cellCount });
    troubles.push({ ...trouble, atMs });
    atMs += 10 + Math.floor(random.exponential(pauseMs));
  }
  return troubles;
}

function drawTrouble(
  kind: Trouble['kind'],
  random: SeededRandom,
  among: { machineCount: number; cellCount: number },
): Trouble {
  const { machineCount, cellCount } = among;
  const machine = random.below(machineCount);
  const ms = random.between(30, 500);
  switch (kind) {
    case 'crash':
      return { kind, machine, awayMs: random.pick([1, 50, 500]) };
    case 'pause':
    case 'full':
      return { kind, machine, ms };
    case 'partition': {
      const out = random.chance(0.7);
      return { kind, machine, ms, ways: { out, in: !out || random.chance(0.7) } };
    }
    case 'change':
      return { kind, machine };
    case 'seize':
      return { kind, machine, cell: random.below(cellCount) };
    case 'move':
      return {
        kind,
        cell: random.below(cellCount),
        end: random.pick(['lower', 'upper']),
        slotCount: random.pick([1, 300, 1500]),
      };
  }
}
