/**
 * The *warden*: the node that at the moment decides on cells. It makes the records of spaces that
 * have none, splits cells as nodes come, puts others in the place of members that are gone, and
 * sees that stewards spread. Each step is one compare-and-set on a cell map that it has just read;
 * the nodes that carry the cells do the rest. So a warden can stop anywhere, and two do no harm.
 */
import { errorCode, errorMessage, mapBounded, type NodeId } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';
import { openVolumes } from '../volumes.ts';
import { loneCell, placeOfCell, type VersionedMap, withMembers, withSplit } from './cell-map.ts';
import { REFERENCES_SPACE, spaceOfVolume } from './hosted-tables.ts';
import type { Hosting } from './hosting.ts';
import type { CellName } from './hosting-wire.ts';
import {
  chooseMembers,
  countFirsts,
  type MetadataNode,
  nextStep,
  type Step,
} from './warden-plan.ts';
import { spreadStep } from './warden-spread.ts';

const STEP_MS = 2000;
const SPACES_AT_ONCE = 4;
const UNFIT_MS = 60_000;
/** With fewer nodes everything stays at home, and needs no records. */
const NODES_MIN = 2;

export interface WardenOptions {
  readonly env: Env;
  readonly registry: Registry;
  readonly hosting: Pick<Hosting, 'maps' | 'syncAt'>;
}

export interface WardenRun {
  /** Nodes that offer to carry cells, as of the call; those that left for good are not in it. */
  readonly metadataNodes: () => readonly MetadataNode[];
  /** A member that is dead for so long is replaced. */
  readonly graceMs: number;
}

export class Warden {
  readonly #options: WardenOptions;
  /** When a node was seen dead first, by the monotonic clock. */
  readonly #deadSinceMs = new Map<NodeId, number>();
  /** When a node could not follow a cell that was to come to it. */
  readonly #unfitSinceMs = new Map<NodeId, number>();
  /** Whose turn it is to be spread. */
  #spreadAt = 0;

  constructor(options: WardenOptions) {
    this.#options = options;
  }

  /** Until `signal` is aborted. */
  async run({ signal, ...run }: WardenRun & { readonly signal: AbortSignal }): Promise<void> {
    for await (const _ of this.#options.env.clock.every(STEP_MS, { signal })) await this.step(run);
  }

  /** One step for each space that needs one. Never fails: what did not work is tried again. */
  async step({ metadataNodes, graceMs }: WardenRun): Promise<void> {
    const offering = metadataNodes();
    this.#noteDead(offering);
    if (offering.length < NODES_MIN) return;
    const nodes = offering.map((one) => ({
      ...one,
      isAlive: one.isAlive && this.#isFit(one.node),
    }));
    const isGivenUp = (node: NodeId): boolean => this.#deadMs(node) > graceMs;
    try {
      const { maps } = this.#options.hosting;
      await maps.refreshTo(await maps.changes());
      const spaces = await this.#spaces();
      const recorded = new Set(maps.all().map(({ space }) => space));
      for (const space of spaces) if (!recorded.has(space)) await this.#record(space, nodes);
      const firsts = countFirsts(maps.all().flatMap(({ cells }) => cells));
      await mapBounded(maps.all(), SPACES_AT_ONCE, async (map) => {
        const step = nextStep({ map, nodes, isGivenUp, firsts });
        if (!step) return;
        noteFirst(firsts, step, map); // others see what is under way
        await this.#take(step, map);
      });
      await this.#spread((map) => !nextStep({ map, nodes, isGivenUp, firsts }), nodes);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      this.#options.env.log.warn('the cells were not seen to', { reason: errorMessage(error) });
    }
  }

  async #spaces(): Promise<string[]> {
    const volumes = await openVolumes(this.#options.registry).list();
    return [REFERENCES_SPACE, ...volumes.map(({ id }) => spaceOfVolume(id))];
  }

  /** One membership after the other, as many as there is time for; goes on there the next time. */
  async #spread(
    isSettled: (map: VersionedMap) => boolean,
    nodes: readonly MetadataNode[],
  ): Promise<void> {
    const { env, hosting } = this.#options;
    const endMs = env.clock.monotonic() + STEP_MS;
    const maps = hosting.maps.all();
    for (let count = 0; count < maps.length && env.clock.monotonic() < endMs; count++) {
      const map = maps[this.#spreadAt++ % maps.length] as VersionedMap;
      const step = isSettled(map) ? spreadStep(map, nodes) : undefined;
      if (step) await this.#take(step, map);
    }
  }

  /** Writes down where the one cell of a space is to be, where nothing is written. */
  async #record(space: string, nodes: readonly MetadataNode[]): Promise<void> {
    const { env, hosting } = this.#options;
    const members = chooseMembers(space, nodes);
    if (members.length === 0) return;
    const map = loneCell(space, members);
    const isRecorded = await hosting.maps.replace({ ...map, version: 0 }, map);
    if (isRecorded) env.log.info('a space has its first cell', { space, members });
  }

  async #take(step: Step, map: VersionedMap): Promise<void> {
    const { env, hosting } = this.#options;
    const { space } = map;
    const { cell, members } = step;
    try {
      if (step.kind === 'members') {
        for (const node of step.added) await this.#sync(node, { space, cell });
      }
      const next =
        step.kind === 'split' ? withSplit(map, cell, members) : withMembers(map, cell, members);
      const isTaken = await hosting.maps.replace(map, next);
      if (isTaken) env.log.info('a cell changes', { space, cell, kind: step.kind, members });
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.warn('a cell does not change yet', { cell, reason: errorMessage(error) });
    }
  }

  /** A node that cannot follow the cell is passed over for a while. */
  async #sync(node: NodeId, of: CellName): Promise<void> {
    try {
      await this.#options.hosting.syncAt(node, of);
    } catch (error) {
      // One that needs long goes on by itself.
      if (errorCode(error) !== 'HF_TIMEOUT') this.#unfitSinceMs.set(node, this.#now());
      throw error;
    }
  }

  #isFit(node: NodeId): boolean {
    return this.#now() - (this.#unfitSinceMs.get(node) ?? -Infinity) > UNFIT_MS;
  }

  #now(): number {
    return this.#options.env.clock.monotonic();
  }

  #noteDead(nodes: readonly MetadataNode[]): void {
    const nowMs = this.#now();
    const dead = new Set(nodes.flatMap(({ node, isAlive }) => (isAlive ? [] : [node])));
    for (const node of this.#deadSinceMs.keys())
      if (!dead.has(node)) this.#deadSinceMs.delete(node);
    for (const node of dead) {
      if (!this.#deadSinceMs.has(node)) this.#deadSinceMs.set(node, nowMs);
    }
  }

  #deadMs(node: NodeId): number {
    const sinceMs = this.#deadSinceMs.get(node);
    return sinceMs === undefined ? 0 : this.#now() - sinceMs;
  }
}

/** As if the step had been taken. */
function noteFirst(
  firsts: Map<NodeId, number>,
  { kind, cell, members }: Step,
  map: VersionedMap,
): void {
  countFirsts([{ members }], firsts);
  const before = placeOfCell(map, cell)?.members[0];
  if (before && kind === 'members') firsts.set(before, (firsts.get(before) ?? 1) - 1);
}
