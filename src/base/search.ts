/** Search in sorted lists, without effects. */

/** Index of the first item of which it is true, as it is of all behind it; else the length. */
export function firstWhere<Item>(
  items: readonly Item[],
  isBehind: (item: Item) => boolean,
): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBehind(items[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}
