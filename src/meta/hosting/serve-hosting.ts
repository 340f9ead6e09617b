/**
 * Answers what other nodes ask of the cells that this node carries. Who may ask for what of a space
 * is the caller's to say; what cells say to each other is heard from nodes that carry cells of the
 * space. Arguments are checked before a cell sees them.
 */
import { HoldfastError, type NodeId } from '../../base/index.ts';
import { answerCalls, type CallHandlers } from '../../log/index.ts';
import type { Network } from '../../net/index.ts';
import { type AnyMethod, checked } from '../remote/cell-methods.ts';
import { decodeValue, encodeValue } from '../remote/wire-value.ts';
import { HOSTED_NAMES, HOSTED_TABLES, type HostedName, volumeOfSpace } from './hosted-tables.ts';
import type { Hosting } from './hosting.ts';
import {
  type CellCall,
  cellMessage,
  type CellName,
  cellName,
  decodeCall,
  encodeReply,
  HOSTING_SERVICE,
  type Reply,
} from './hosting-wire.ts';
import { isSessionOf } from './kept-answers.ts';
import { checkMessage, MESSAGE_NAMES } from './message-wire.ts';
import { decodePing, encodePong } from './ping-wire.ts';
import { STALE_NAMES } from './stale-cells.ts';

/** An operation that another node asks for; the arguments are not checked yet. */
export interface HostedRequest {
  readonly table: HostedName;
  readonly method: string;
  /** `undefined`: the references. */
  readonly volume: string | undefined;
  readonly args: readonly unknown[];
}

export interface ServeHostingOptions {
  /** `undefined` while there is none. */
  readonly hosting: () => Hosting | undefined;
  readonly mayAsk: (from: NodeId, request: HostedRequest) => boolean;
  /** Whether a node may carry cells: it may say what the stewards of cells say. */
  readonly mayCarry: (from: NodeId) => boolean;
}

export function serveHosting(network: Pick<Network, 'handle'>, options: ServeHostingOptions): void {
  const handlers: Record<string, CallHandlers[string]> = {
    ping: (arg, from) => {
      // Of one that is about to carry cells it is known at once that it is there.
      const carrier = options.hosting()?.carrier;
      if (carrier && !options.mayCarry(from)) throw denied();
      return encodePong(carrier?.told.answer(decodePing(arg)));
    },
    view: async (arg) => {
      const name = checked(cellName, decodeValue(arg));
      return encodeReply(await running(options).local.view(name));
    },
    take: async (arg, from) => {
      return encodeValue(await running(options).local.take(permitted(arg, from, options)));
    },
    sync: async (arg, from) => {
      return encodeValue(await running(options).local.sync(permitted(arg, from, options)));
    },
  };
  for (const name of MESSAGE_NAMES) {
    handlers[`message.${name}`] = async (arg, from) => {
      const { request, ...of } = checked(cellMessage, decodeValue(arg));
      if (!options.mayCarry(from)) throw denied();
      const { local } = running(options);
      return encodeReply(await local.message(name, of, checkMessage(name, request)));
    };
  }
  for (const table of HOSTED_NAMES) {
    const { methods } = HOSTED_TABLES[table];
    for (const [method, row] of Object.entries(methods)) {
      handlers[`${table}.${method}`] = operation(options, { table, method, row }, (call) =>
        running(options).local.operate(table, method, call),
      );
    }
  }
  for (const table of STALE_NAMES) {
    const { methods } = HOSTED_TABLES[table];
    for (const [method, row] of Object.entries(methods)) {
      if (row.isChange) continue;
      handlers[`stale.${table}.${method}`] = operation(options, { table, method, row }, (call) =>
        running(options).stale.operate(table, method, call),
      );
    }
  }
  handlers['stale.rows'] = async (arg, from) => {
    const { request, ...of } = checked(cellMessage, decodeValue(arg));
    if (!options.mayCarry(from)) throw denied();
    return encodeReply(running(options).stale.readRows(of, checkMessage('readRows', request)));
  };
  answerCalls(network, HOSTING_SERVICE, handlers);
}

function operation(
  options: ServeHostingOptions,
  { table, method, row }: { table: HostedName; method: string; row: AnyMethod },
  answer: (call: CellCall) => Promise<Reply>,
): CallHandlers[string] {
  return async (arg, from) => {
    const call = decodeCall(arg);
    const { space } = call;
    if (!HOSTED_TABLES[table].isFor(space)) throw new HoldfastError('HF_BAD_ARGUMENT');
    const request = { table, method, volume: volumeOfSpace(space), args: call.args };
    if (!options.mayAsk(from, request)) throw denied();
    if (call.retry && !isSessionOf(call.retry.session, from)) throw denied();
    const args = checked(row.args, [...call.args]);
    return encodeReply(await answer({ ...call, args }));
  };
}

function permitted(arg: Uint8Array, from: NodeId, { mayCarry }: ServeHostingOptions): CellName {
  const name = checked(cellName, decodeValue(arg));
  if (!mayCarry(from)) throw denied();
  return name;
}

function running({ hosting }: ServeHostingOptions): Hosting {
  const running = hosting();
  if (running) return running;
  throw new HoldfastError('HF_UNAVAILABLE', 'this node carries no cells now');
}

function denied(): HoldfastError {
  return new HoldfastError('HF_DENIED', 'the volume is not granted to this node');
}
