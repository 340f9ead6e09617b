/** The door of `api`: what the control interface takes and gives. */
export {
  CONTROL_METHODS,
  CONTROL_SOCKET,
  CONTROL_TOKEN,
  ContentGet,
  ContentPut,
  ERROR_TRAILER,
  OBJECT_HEADER,
  STRICT_HEADER,
  type ContentGetInput,
  type ContentPutInput,
  type ControlAnswers,
  type ControlInput,
  type ControlMethod,
  type ControlRequest,
  type ErrorView,
  type HealthView,
  type ProgressView,
  type StatusView,
} from './control-api.ts';
export type {
  RepairActivityView,
  RepairStatusView,
  RepairView,
  ScrubView,
  StoreScrubView,
} from './care-views.ts';
export type {
  DeviceChange,
  DeviceDetails,
  DeviceStateView,
  DeviceView,
  LimitsView,
  PressureView,
} from './device-views.ts';
export type {
  DiskView,
  GrantView,
  InvitationView,
  LeaveView,
  NodeStateView,
  NodeView,
} from './node-views.ts';
export type {
  ListedView,
  LocationView,
  ObjectView,
  PlaceView,
  PutAnswer,
  StorePlaceView,
} from './object-views.ts';
export type { MountView } from './mount-views.ts';
export type { FileView } from './tree-views.ts';
export type { ReencodeView, VolumeView, WormView } from './volume-views.ts';
export type {
  CellMemberView,
  CellView,
  MetadataView,
  NamedEtcdView,
  NamedNode,
  PathCellView,
  RingSeatView,
} from './meta-views.ts';
