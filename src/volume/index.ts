/** The door of `volume`: the objects of one namespace. */
export type { Content, ContentSource } from './content-source.ts';
export type {
  ObjectContent,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  PutReport,
  StripePlaces,
} from './object-store.ts';
export { openObjects, type ObjectsOptions } from './objects.ts';
export { parseKey } from './keys.ts';
