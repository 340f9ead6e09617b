/** How the groups of commands say their verbs. */
import { type Command, Option } from 'commander';
import { HoldfastError } from '../base/index.ts';
import { serverAddress } from './address.ts';
import type { GlobalOptions, Session } from './session.ts';

/** Does the work of a verb in a session of its own; the work gives the exit code, or none for 0. */
export type Run = (
  options: GlobalOptions,
  work: (session: Session) => Promise<number | void>,
) => Promise<void>;

export interface Verbs {
  /** The command under which verbs are added. */
  readonly program: Command;
  readonly run: Run;
  readonly heading?: string;
}

interface Verb<Options, Args extends unknown[]> {
  readonly summary: string;
  /** What else there is to know, whole sentences. */
  readonly details?: string;
  /** Name and what it is; `<needed>`, `[optional]`, `<many...>`. */
  readonly args?: Readonly<Record<string, string>>;
  /** Flags and what they do. */
  readonly options?: Readonly<Record<string, string>>;
  /** On one volume's objects. */
  readonly hasVolume?: boolean;
  /** May go to an address on which the node listens, instead of its socket. */
  readonly hasServer?: boolean;
  readonly examples: readonly string[];
  /** Arguments are as declared: missing ones `undefined`, `<many...>` an array. */
  readonly action: (session: Session, options: Options, ...args: Args) => Promise<number | void>;
}

export function addVerb<Options, Args extends unknown[]>(
  { program, run, heading }: Verbs,
  name: string,
  verb: Verb<Options, Args>,
): Command {
  const command = program.command(name).summary(verb.summary);
  if (heading !== undefined) command.helpGroup(heading);
  command.description(verb.details ? `${verb.summary}. ${verb.details}` : verb.summary);
  for (const [arg, meaning] of Object.entries(verb.args ?? {})) command.argument(arg, meaning);
  for (const [flags, meaning] of Object.entries(verb.options ?? {})) {
    command.addOption(new Option(flags, meaning));
  }
  if (verb.hasVolume) command.option('--volume <name>', 'volume of the object', 'default');
  if (verb.hasServer) {
    command.option(
      '-s, --server <ip>',
      'talk to the node that listens there (default: its socket)',
    );
    command.option('-p, --port <port>', 'and on this port (default with -s: 9111)');
  }
  const examples = verb.examples.map((line) => `  ${line}`).join('\n');
  command.addHelpText('after', `\nExamples:\n${examples}`);
  command.action(async () => {
    const options = command.optsWithGlobals();
    const args = command.processedArgs as Args;
    const address = verb.hasServer ? serverAddress(options) : undefined;
    const { data, json, strict } = options as GlobalOptions;
    const about: GlobalOptions = { data, json, strict, address };
    await run(about, (session) => verb.action(session, options as Options, ...args));
  });
  return command;
}

/** What was said in one of several ways. @throws HF_BAD_ARGUMENT. */
export function oneOf(ways: Readonly<Record<string, string | undefined>>): string {
  const said = atMostOneOf(ways);
  if (said !== undefined) return said;
  throw new HoldfastError('HF_BAD_ARGUMENT', `name ${Object.keys(ways)[0]}`);
}

/** @throws HF_BAD_ARGUMENT when it was said twice. */
export function atMostOneOf(
  ways: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const said = Object.values(ways).filter((value) => value !== undefined);
  if (said.length <= 1) return said[0];
  const names = Object.keys(ways).join(' and ');
  throw new HoldfastError('HF_BAD_ARGUMENT', `${names} say the same: give one of them`);
}

/** The same verbs, but those that are added stand under a heading of their own in the help. */
export function underHeading(verbs: Verbs, heading: string): Verbs {
  return { ...verbs, heading };
}

/** A word under which verbs are gathered: `dev add`, `dev list`. */
export function addGroup({ program, run }: Verbs, name: string, summary: string): Verbs {
  const group = program.command(name).summary(summary).description(summary);
  return { program: group, run };
}
