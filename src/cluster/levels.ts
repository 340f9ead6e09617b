/**
 * The *levels* of a cluster: its failure domains, widest first, the same for all its devices. Where
 * a user has named nothing the label is {@link DEFAULT_LABEL}, one domain for all such devices.
 * Clusters of older releases know the last two levels alone; the node that carries their metadata
 * gives them the others, and until it has, readers see what was written.
 */

/** Of new clusters. */
export const LEVELS: readonly string[] = ['datacenter', 'region', 'zone', 'rack', 'server', 'disk'];

export const DEFAULT_LABEL = 'default';

/** Labels for all levels from those of the narrow ones; from too many the narrow ones. */
export function labelsOn(levels: readonly string[], labels: readonly string[]): readonly string[] {
  const lacking = Math.max(0, levels.length - labels.length);
  const given = labels.slice(Math.max(0, labels.length - levels.length));
  return [...Array.from({ length: lacking }, () => DEFAULT_LABEL), ...given];
}

/** Labels of a record whose levels may be others than those asked for. */
export function labelsBetween(
  levels: { readonly from: readonly string[]; readonly to: readonly string[] },
  labels: readonly string[],
): readonly string[] {
  return levels.to.map((level) => labels[levels.from.indexOf(level)] ?? DEFAULT_LABEL);
}
