/**
 * The tree of commands. Each group of commands is a file of its own that adds its verbs with
 * {@link Verbs.add}; the tree is made without running anything, so that the reference page can be
 * printed from it.
 */
import { Command } from 'commander';
import { addArchiveCommands } from './archive-commands.ts';
import { addCareCommands } from './care-commands.ts';
import { addChunkCommands } from './chunk-commands.ts';
import { addClusterCommands } from './cluster-commands.ts';
import { addDdfsCommands } from './ddfs-commands.ts';
import { addDeviceCommands } from './device-commands.ts';
import { addDiskCommands } from './disk-commands.ts';
import { addExportCommands } from './export-commands.ts';
import type { Io } from './io.ts';
import { addKeyCommands } from './key-commands.ts';
import { addNodeCommands } from './node-commands.ts';
import { addMetaCommands } from './meta-commands.ts';
import { addMountCommands } from './mount-commands.ts';
import { addObjectCommands } from './object-commands.ts';
import { addTreeCommands } from './tree-commands.ts';
import { addPlanCommands } from './plan-commands.ts';
import { addSharesCommands } from './shares-commands.ts';
import type { Run, Verbs } from './verbs.ts';
import { addVolumeCommands } from './volume-commands.ts';

export const EXIT_CODES: readonly (readonly [codes: string, meaning: string])[] = [
  ['0', 'done'],
  ['1', 'health: something is degraded; scrub: something is bad; doctor: something fails'],
  ['2', 'wrong use: an argument, a scheme, a limit'],
  ['3', 'not found'],
  ['4', 'exists already'],
  ['5', 'no space'],
  ['6', 'too few shards, stores or answers; health: something is lost'],
  ['7', 'a device, a file or its bytes are bad'],
  ['8', "not ours, or in another process's hands"],
  ['9', 'not permitted, or the wrong key'],
  ['10', 'no node is running'],
  ['11', 'a WORM volume keeps it'],
  ['70', 'a fault of Holdfast itself'],
  ['130', 'interrupted'],
  ['141', 'nobody reads the output any more'],
];

/** @param run what a verb does when it is called. */
export function buildProgram(io: Io, run: Run): Command {
  const program = new Command('holdfast')
    .description('A decentralised, self-healing, encrypted store for files.')
    .version(io.version, '-V, --version', 'print the version')
    .option('--data <dir>', "the node's data directory (default: HOLDFAST_DATA or ~/.holdfast)")
    .option('--json', 'print results and errors as JSON')
    .option('--strict', 'fail where names could only be read as they were a while ago')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => {},
      getOutHelpWidth: () => Math.min(io.stdout.columns ?? 80, 100),
      getErrHelpWidth: () => Math.min(io.stderr.columns ?? 80, 100),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .exitOverride();
  program.addHelpText('after', `\nExit codes:\n${exitCodeLines().join('\n')}`);
  const verbs: Verbs = { program, run };
  addNodeCommands(verbs);
  addClusterCommands(verbs);
  addObjectCommands(verbs);
  addTreeCommands(verbs);
  addMountCommands(verbs);
  addMetaCommands(verbs);
  addDeviceCommands(verbs);
  addDiskCommands(verbs);
  addVolumeCommands(verbs);
  addCareCommands(verbs);
  addPlanCommands(verbs);
  addDdfsCommands(verbs);
  addChunkCommands(verbs);
  addExportCommands(verbs);
  addSharesCommands(verbs);
  addKeyCommands(verbs);
  addArchiveCommands(verbs);
  return program;
}

function exitCodeLines(): string[] {
  return EXIT_CODES.map(([code, meaning]) => `  ${code.padStart(3)}  ${meaning}`);
}
