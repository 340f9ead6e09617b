/**
 * The *levels* of a cluster: its failure domains, widest first, the same for all its devices. Where
 * a user has named nothing the label is {@link DEFAULT_LABEL}, one domain for all such devices.
 * Clusters of older releases know the last two levels alone; the node that carries their metadata
 * gives them the others, and until it has, readers see what was written.
 */
import type { TopologyDevice } from '../placement/index.ts';

/** Of new clusters. */
export const LEVELS: readonly string[] = ['datacenter', 'region', 'zone', 'rack', 'server', 'disk'];

export const DEFAULT_LABEL = 'default';

/** Labels for all levels from those of the narrow ones; from too many the narrow ones. */
export function labelsOn(levels: readonly string[], labels: readonly string[]): readonly string[] {
  const lacking = Math.max(0, levels.length - labels.length);
  const given = labels.slice(Math.max(0, labels.length - levels.length));
  return [...Array.from({ length: lacking }, () => DEFAULT_LABEL), ...given];
}

/** Devices of a record whose levels may be others than those asked for. */
export function devicesBetween(
  levels: { readonly from: readonly string[]; readonly to: readonly string[] },
  devices: readonly TopologyDevice[],
): readonly TopologyDevice[] {
  return devices.map((device) => {
    const labelOf = (level: string) => device.labels[levels.from.indexOf(level)];
    return { ...device, labels: levels.to.map((level) => labelOf(level) ?? DEFAULT_LABEL) };
  });
}

export function areSameLevels(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((level, i) => level === b[i]);
}
