/** The door of `placement`: layouts as pure functions. */
export {
  NO_DEVICE,
  type DeviceState,
  type Layout,
  type LayoutReport,
  type Topology,
  type TopologyDevice,
} from './layout.ts';
