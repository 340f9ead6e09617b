/** The door of `placement`: layouts as pure functions. */
export { decodeLayout, decodeTopology, encodeLayout, encodeTopology } from './encoding.ts';
export {
  NO_DEVICE,
  type DeviceState,
  type Layout,
  type LayoutReport,
  type Topology,
  type TopologyDevice,
} from './layout.ts';
export { countApart, matchShards } from './matching.ts';
export { nextLayout, type LayoutOptions } from './next-layout.ts';
export {
  handOffOrder,
  type LayoutAndTopology,
  leavingDevices,
  nearPlaces,
  placeStripe,
  settledPlaces,
  standingApart,
} from './place.ts';
export { reportLayout } from './report.ts';
