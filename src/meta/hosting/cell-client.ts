/**
 * Asks the steward of a cell, whichever node that is: the one that answered last, then the members
 * in their order, following what nodes say of who is steward and cells of where a slot is. A change
 * is asked with the same retry tag until somebody answers, so that it is done once.
 *
 * Each try is bounded, and so are all of them together: hints that lead in a circle end there.
 */
import { errorCode, errorMessage, HoldfastError, LIMITS, type NodeId } from '../../base/index.ts';
import { type Env, within } from '../../env/index.ts';
import { callForBytes, type CellId } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import type { CellPlace, VersionedMap } from './cell-map.ts';
import type { CellMaps } from './cell-maps.ts';
import { decodeReply, HOSTING_SERVICE, type Reply } from './hosting-wire.ts';

/** How long a try waits for an answer. Who is said to be the steward and is slow gets more. */
const PATIENCE_MS = 1000;
/** How often what is under way here looks whether it can come to an end. */
const LOOK_MS = 250;
const PATIENCE_FACTOR_MAX = 4;
/** Between rounds over the members. */
const PAUSE_MS = 30;
const PAUSE_MS_MAX = 500;
/** A node that did not answer is asked again after so long, or sooner when others hear it. */
const AVOIDANCE_MS = 3000;
/** A node that is cut off from the log gives up so long before the deadline. */
const CUT_SHORT_MS = 2000;
const DISBELIEF_MS = 1000;

/** Errors that say nothing about what was asked. */
export const SILENCES: readonly (string | undefined)[] = [
  'HF_UNAVAILABLE',
  'HF_TIMEOUT',
  'HF_INTERRUPTED',
  'HF_CLOSED',
];

export interface CellClientOptions {
  readonly env: Env;
  readonly self: NodeId;
  readonly network: Pick<Network, 'call' | 'open' | 'links'>;
  readonly maps: CellMaps;
  /** Whether this node does not reach the log. */
  readonly isCut: () => boolean;
  /** Why not, for people; `undefined` while that is not known. */
  readonly cutReason: () => string | undefined;
}

/** Something that is asked of the steward of a cell. */
export interface CellQuestion {
  readonly space: string;
  /**
   * The cell that is meant, by the map of the moment.
   * @param movedFrom the cell that said last that the slot is not its own.
   */
  readonly placeOf: (map: VersionedMap, movedFrom: CellId | undefined) => CellPlace;
  /** Whether it changes anything: then no answer leaves doubt. */
  readonly isChange: boolean;
  readonly deadlineMs: number;
  /** At this node. */
  readonly here: (place: CellPlace) => Promise<Reply>;
  /** At another: a method of the service and its argument. */
  readonly there: (place: CellPlace) => { readonly method: string; readonly arg: Uint8Array };
  /** The answer of another node, checked. @throws HF_BAD_ARGUMENT when it is nonsense. */
  readonly understand: (value: unknown) => unknown;
}

/** The state of one question. */
interface Trail {
  readonly endsAtMs: number;
  /** Tries since the last pause. */
  tries: number;
  pauses: number;
  silences: number;
  /** Said to be the steward by the node that was asked last. */
  hinted: NodeId | undefined;
  isInDoubt: boolean;
  movedFrom: CellId | undefined;
  /** The last reason for having no answer. */
  reason: string;
}

export class CellClient {
  readonly #options: CellClientOptions;
  readonly #stewards = new Map<CellId, NodeId>();
  /** When a node did not answer, by the monotonic clock. */
  readonly #silentAtMs = new Map<NodeId, number>();

  constructor(options: CellClientOptions) {
    this.#options = options;
  }

  /** Who answered last for a cell, or is said to be its steward. */
  stewardOf(cell: CellId): NodeId | undefined {
    return this.#stewards.get(cell);
  }

  /** Somebody is known to be the steward. */
  believe(cell: CellId, steward: NodeId): void {
    this.#stewards.set(cell, steward);
  }

  /**
   * @returns what was answered, and the cell that did, as the map had it.
   * @throws HF_UNAVAILABLE, HF_UNKNOWN_OUTCOME at the deadline; what was thrown as the answer.
   */
  async ask(question: CellQuestion): Promise<{ value: unknown; place: CellPlace }> {
    const { clock } = this.#options.env;
    const trail: Trail = {
      endsAtMs: clock.monotonic() + question.deadlineMs,
      tries: 0,
      pauses: 0,
      silences: 0,
      hinted: undefined,
      isInDoubt: false,
      movedFrom: undefined,
      reason: 'it was not asked',
    };
    for (;;) {
      const place = await this.#place(question, trail);
      if (place) {
        const node = this.#candidate(place);
        const reply = await this.#try(question, { place, node }, trail);
        if (reply.kind === 'answer') return { value: reply.value, place };
        await this.#learn(reply, { space: question.space, place, node }, trail);
      } else await this.#pause(question.space, trail);
      const isCut = this.#options.isCut();
      const leftMs = trail.endsAtMs - clock.monotonic();
      if (leftMs <= (isCut ? CUT_SHORT_MS : 0)) {
        throw isCut ? cut(question, trail, this.#options.cutReason()) : gaveUp(question, trail);
      }
    }
  }

  async #place({ space, placeOf }: CellQuestion, trail: Trail): Promise<CellPlace | undefined> {
    try {
      return placeOf(await this.#options.maps.of(space), trail.movedFrom);
    } catch (error) {
      if (!SILENCES.includes(errorCode(error))) throw error;
      trail.reason = errorMessage(error);
      return undefined;
    }
  }

  #candidate({ cell, members }: CellPlace): NodeId {
    return this.#stewards.get(cell) ?? (members[0] as NodeId);
  }

  async #try(
    question: CellQuestion,
    { place, node }: { place: CellPlace; node: NodeId },
    trail: Trail,
  ): Promise<Reply | { kind: 'silent' }> {
    trail.tries += 1;
    const { clock } = this.#options.env;
    const leftMs = trail.endsAtMs - clock.monotonic();
    const patienceMs =
      PATIENCE_MS *
      (node === trail.hinted ? Math.min(2 ** trail.silences, PATIENCE_FACTOR_MAX) : 1);
    const deadlineMs = Math.max(1, Math.min(patienceMs, leftMs));
    let isSent = false;
    try {
      if (node === this.#options.self) {
        isSent = true;
        return await this.#here(question.here(place), trail);
      }
      await this.#reach(node, deadlineMs);
      isSent = true;
      const { method, arg } = question.there(place);
      const call = { node, method: `${HOSTING_SERVICE}/${method}`, arg, deadlineMs };
      const bytes = await callForBytes(this.#options.network, call);
      this.#silentAtMs.delete(node);
      return understood(bytes, question);
    } catch (error) {
      // Of a node that was not even reached nothing is an answer: it may be unknown here yet.
      const isSilence = SILENCES.includes(errorCode(error)) || !isSent;
      if (!isSilence || errorCode(error) === undefined) throw error;
      trail.reason = errorMessage(error);
      trail.silences += 1;
      trail.isInDoubt ||= isSent && question.isChange;
      this.#silentAtMs.set(node, clock.monotonic());
      return { kind: 'silent' };
    }
  }

  /** What takes long here is waited for as long as this node reaches the log. */
  async #here(reply: Promise<Reply>, { endsAtMs }: Trail): Promise<Reply> {
    const { env, isCut } = this.#options;
    while (env.clock.monotonic() < endsAtMs) {
      const replied = await within(env.clock, reply, LOOK_MS);
      if (replied) return replied;
      if (isCut()) break;
    }
    throw new HoldfastError('HF_TIMEOUT', 'the log does not answer this node');
  }

  /** So that a node that is plainly not there leaves no doubt. */
  async #reach(node: NodeId, deadlineMs: number): Promise<void> {
    const { network } = this.#options;
    if (network.links().some((link) => link.node === node)) return;
    const call = { node, method: `${HOSTING_SERVICE}/probe`, arg: new Uint8Array(), deadlineMs };
    await callForBytes(network, call);
  }

  async #learn(
    reply: Exclude<Reply, { kind: 'answer' }> | { kind: 'silent' },
    { space, place, node }: { space: string; place: CellPlace; node: NodeId },
    trail: Trail,
  ): Promise<void> {
    const { cell, members } = place;
    if (reply.kind === 'later') trail.isInDoubt ||= reply.isInDoubt;
    if (reply.kind === 'moved') {
      trail.movedFrom = cell;
      trail.reason = 'its slots are on their way to another cell';
    }
    const hint = reply.kind === 'elsewhere' && reply.steward !== node ? reply.steward : undefined;
    trail.hinted = hint !== undefined && this.#silentMs(hint) > DISBELIEF_MS ? hint : undefined;
    if (trail.hinted !== undefined) this.#stewards.set(cell, trail.hinted);
    else if (reply.kind === 'elsewhere' || reply.kind === 'silent') {
      this.#stewards.set(cell, this.#nextAfter(node, members));
    }
    if (reply.kind === 'elsewhere') trail.reason = `${cell} has no steward that is known`;
    const isRoundOver = trail.tries > members.length;
    if (reply.kind === 'moved' || reply.kind === 'later' || isRoundOver) {
      await this.#pause(space, trail);
    }
  }

  /** The member after this one, of those that did not fail to answer a moment ago. */
  #nextAfter(node: NodeId, members: readonly NodeId[]): NodeId {
    const at = members.indexOf(node) + 1;
    const others = [...members.slice(at), ...members.slice(0, at)];
    const next = others.find((member) => this.#silentMs(member) > AVOIDANCE_MS) ?? others[0];
    return next as NodeId;
  }

  /** Since it did not answer. */
  #silentMs(node: NodeId): number {
    return this.#options.env.clock.monotonic() - (this.#silentAtMs.get(node) ?? -Infinity);
  }

  /**
   * Lets some time pass, and looks at the map again: who cannot see it may find the steward yet.
   */
  async #pause(space: string, trail: Trail): Promise<void> {
    const { env, maps } = this.#options;
    trail.tries = 0;
    void maps.refresh(space).catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
      trail.reason = errorMessage(error);
    });
    const pauseMs = Math.min(PAUSE_MS * 2 ** trail.pauses, PAUSE_MS_MAX);
    trail.pauses += 1;
    await env.clock.sleep(pauseMs / 2 + env.random.below(pauseMs / 2 + 1));
  }
}

/** Nonsense is as good as no answer. */
function understood(bytes: Uint8Array, { understand }: CellQuestion): Reply {
  try {
    const reply = decodeReply(bytes);
    return reply.kind === 'answer' ? { ...reply, value: understand(reply.value) } : reply;
  } catch (error) {
    const text = `the other node answered nonsense: ${errorMessage(error)}`;
    throw new HoldfastError('HF_UNAVAILABLE', text, { cause: error });
  }
}

function gaveUp({ space }: CellQuestion, { isInDoubt, reason }: Trail): HoldfastError {
  const code = isInDoubt ? 'HF_UNKNOWN_OUTCOME' : 'HF_UNAVAILABLE';
  return new HoldfastError(code, `nobody answers for ${space}: ${reason}`);
}

/** Most questions for the newest names are asked by who is about to change something. */
function cut(
  { isChange }: CellQuestion,
  { isInDoubt }: Trail,
  reason = 'what keeps the names does not answer this node; see: holdfast status',
): HoldfastError {
  const code = isInDoubt ? 'HF_UNKNOWN_OUTCOME' : 'HF_UNAVAILABLE';
  const what = `nothing can be changed now${isChange ? '' : ', and names not be read for sure'}`;
  return new HoldfastError(code, `${what}: ${reason}`);
}

/** Until an operation has an answer. */
export const OPERATION_MS: number = LIMITS.remoteCallMs;
