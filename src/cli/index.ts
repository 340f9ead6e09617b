/** The door of `cli`: the command line, and its reference page. */
export type { Io } from './io.ts';
export { main } from './main.ts';
export { cliReference, commandTree } from './reference.ts';
