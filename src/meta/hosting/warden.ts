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
import { loneCell, type VersionedMap, withMembers, withSplit } from './cell-map.ts';
import { REFERENCES_SPACE, spaceOfVolume } from './hosted-tables.ts';
import type { Hosting } from './hosting.ts';
import {
  chooseMembers,
  countFirsts,
  type MetadataNode,
  nextStep,
  type Step,
} from './warden-plan.ts';

const STEP_MS = 2000;
const SPACES_AT_ONCE = 4;
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

  constructor(options: WardenOptions) {
    this.#options = options;
  }

  /** Until `signal` is aborted. */
  async run({ signal, ...run }: WardenRun & { readonly signal: AbortSignal }): Promise<void> {
    for await (const _ of this.#options.env.clock.every(STEP_MS, { signal })) await this.step(run);
  }

  /** One step for each space that needs one. Never fails: what did not work is tried again. */
  async step({ metadataNodes, graceMs }: WardenRun): Promise<void> {
    const nodes = metadataNodes();
    this.#noteDead(nodes);
    if (nodes.length < NODES_MIN) return;
    const isGivenUp = (node: NodeId): boolean => this.#deadMs(node) > graceMs;
    try {
      const { maps } = this.#options.hosting;
      await maps.refreshAll();
      const spaces = await this.#spaces();
      for (const space of spaces) await this.#record(space, nodes);
      const firsts = countFirsts(maps.all().flatMap(({ cells }) => cells));
      await mapBounded(maps.all(), SPACES_AT_ONCE, async (map) => {
        const step = nextStep({ map, nodes, isGivenUp, firsts });
        if (!step) return;
        countFirsts([step], firsts); // others see what is under way
        await this.#take(step, map);
      });
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      this.#options.env.log.warn('the cells were not seen to', { reason: errorMessage(error) });
    }
  }

  async #spaces(): Promise<string[]> {
    const volumes = await openVolumes(this.#options.registry).list();
    return [REFERENCES_SPACE, ...volumes.map(({ id }) => spaceOfVolume(id))];
  }

  /** Writes down where the one cell of a space is to be, where nothing is written. */
  async #record(space: string, nodes: readonly MetadataNode[]): Promise<void> {
    const { env, hosting } = this.#options;
    if (hosting.maps.all().some((map) => map.space === space)) return;
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
        for (const node of step.added) await hosting.syncAt(node, { space, cell });
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

  #noteDead(nodes: readonly MetadataNode[]): void {
    const nowMs = this.#options.env.clock.monotonic();
    const dead = new Set(nodes.flatMap(({ node, isAlive }) => (isAlive ? [] : [node])));
    for (const node of this.#deadSinceMs.keys())
      if (!dead.has(node)) this.#deadSinceMs.delete(node);
    for (const node of dead) {
      if (!this.#deadSinceMs.has(node)) this.#deadSinceMs.set(node, nowMs);
    }
  }

  #deadMs(node: NodeId): number {
    const sinceMs = this.#deadSinceMs.get(node);
    return sinceMs === undefined ? 0 : this.#options.env.clock.monotonic() - sinceMs;
  }
}
