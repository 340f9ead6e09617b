/**
 * The URL of a module beside the caller, with the caller's own extension: `.ts` when run from
 * `src/`, `.js` when run from `dist/`. The build rewrites imports, but not URLs of worker threads.
 */
export function siblingModule(callerUrl: string, relative: string): URL {
  const extension = callerUrl.endsWith('.ts') ? '.ts' : '.js';
  return new URL(relative + extension, callerUrl);
}
