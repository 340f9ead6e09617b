/** The reference page of the command line, made from the tree of commands. */
import type { Command } from 'commander';
import { type Io, processIo } from './io.ts';
import { buildProgram, EXIT_CODES } from './program.ts';

/** The commands, to look at: none of them runs. */
export function commandTree(io: Io = processIo()): Command {
  return buildProgram(io, async () => {});
}

/** Text of docs/reference/cli.md, without a first line that says where it comes from. */
export function cliReference(): string {
  const commands = leavesOf(commandTree(), []);
  const sections = commands.map(({ words, command }) => {
    const title = `## ${['holdfast', ...words].join(' ')}`;
    return `${title}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\``;
  });
  const codes = EXIT_CODES.map(([code, meaning]) => `| ${code} | ${meaning} |`);
  return `# Command line

\`--data DIR\` and \`--json\` may stand before or after the verb. Results go to standard output,
everything else to standard error: \`holdfast: \` and one line, or with \`--json\` an object
\`{"error": {"code", "message"}}\`.
Sizes: \`4096\`, \`10M\` = \`10MiB\` = 10 × 1024², \`10MB\` = 10 × 1000².

| exit code | meaning |
| --- | --- |
${codes.join('\n')}

Codes of single errors are in [errors](errors.md).

${sections.join('\n\n')}
`;
}

function leavesOf(
  command: Command,
  words: readonly string[],
): { words: readonly string[]; command: Command }[] {
  if (command.commands.length === 0) return [{ words, command }];
  return command.commands.flatMap((child) => leavesOf(child, [...words, child.name()]));
}

/** The help as it is printed, examples included. */
function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    ...command.configureOutput(),
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => 80,
  });
  command.outputHelp();
  return text.trimEnd();
}
