/** How the groups of commands say their verbs. */
import { type Command, Option } from 'commander';
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
  readonly examples: readonly string[];
  /** Arguments are as declared: missing ones `undefined`, `<many...>` an array. */
  readonly action: (session: Session, options: Options, ...args: Args) => Promise<number | void>;
}

export function addVerb<Options, Args extends unknown[]>(
  { program, run }: Verbs,
  name: string,
  verb: Verb<Options, Args>,
): Command {
  const command = program.command(name).summary(verb.summary);
  command.description(verb.details ? `${verb.summary}. ${verb.details}` : verb.summary);
  for (const [arg, meaning] of Object.entries(verb.args ?? {})) command.argument(arg, meaning);
  for (const [flags, meaning] of Object.entries(verb.options ?? {})) {
    command.addOption(new Option(flags, meaning));
  }
  if (verb.hasVolume) command.option('--volume <name>', 'volume of the object', 'default');
  const examples = verb.examples.map((line) => `  ${line}`).join('\n');
  command.addHelpText('after', `\nExamples:\n${examples}`);
  command.action(async () => {
    const options = command.optsWithGlobals();
    const args = command.processedArgs as Args;
    await run(options, (session) => verb.action(session, options as Options, ...args));
  });
  return command;
}

/** A word under which verbs are gathered: `dev add`, `dev list`. */
export function addGroup({ program, run }: Verbs, name: string, summary: string): Verbs {
  const group = program.command(name).summary(summary).description(summary);
  return { program: group, run };
}
