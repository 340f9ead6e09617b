/**
 * The filesystems on the disks of this machine, by label and uuid: the links that udev keeps under
 * /dev/disk, and the mounts. Only links and lists of the kernel are read: no disk is woken, and one
 * that hangs holds nobody up. Where nobody keeps such links (most containers) there is nothing to
 * tell by.
 *
 * A mount counts when it shows its filesystem from the root on; a folder bound elsewhere does not.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { deviceNumberOf } from './sysfs.ts';
import { absent, MOUNT_INFO, type Mount, readMounts } from './mounts.ts';

/** Links that are followed; machines have dozens. */
const LINKS_MAX = 1024;

export interface DiskSources {
  readonly byLabelPath: string;
  readonly byUuidPath: string;
  readonly mountInfoPath: string;
}

const LINUX: DiskSources = {
  byLabelPath: '/dev/disk/by-label',
  byUuidPath: '/dev/disk/by-uuid',
  mountInfoPath: MOUNT_INFO,
};

/** One for each label; without one, for each uuid. */
export interface DiskFilesystem {
  readonly label: string | undefined;
  readonly uuid: string | undefined;
  /** Such as `/dev/sdb1`. */
  readonly device: string;
  readonly mountPoints: readonly string[];
}

/** How the machine was when it was read. */
export class MachineDisks {
  readonly filesystems: readonly DiskFilesystem[];
  /** Whether the system says which device has which label. */
  readonly knowsLabels: boolean;
  readonly #mounts: readonly Mount[];

  private constructor(parts: {
    readonly filesystems: readonly DiskFilesystem[];
    readonly knowsLabels: boolean;
    readonly mounts: readonly Mount[];
  }) {
    this.filesystems = parts.filesystems;
    this.knowsLabels = parts.knowsLabels;
    this.#mounts = parts.mounts;
  }

  /** @throws what reading a list fails with that is there. */
  static async read(sources: DiskSources = LINUX): Promise<MachineDisks> {
    const { byLabelPath, byUuidPath, mountInfoPath } = sources;
    const mounts = (await readMounts(mountInfoPath)).filter(({ root }) => root === '/');
    const labels = await linksIn(byLabelPath);
    const uuids = (await linksIn(byUuidPath)) ?? [];
    const uuidOf = new Map(uuids.map(({ name, device }) => [device, name]));
    const labelled = new Set(labels?.map(({ device }) => device));
    const nameless = uuids.filter(({ device }) => !labelled.has(device));
    const found = (link: Link, label: string | undefined): DiskFilesystem => ({
      label,
      uuid: uuidOf.get(link.device),
      device: link.device,
      mountPoints: mounts.filter((mount) => isOf(mount, link)).map(({ point }) => point),
    });
    const filesystems = [
      ...(labels ?? []).map((link) => found(link, link.name)),
      ...nameless.map((link) => found(link, undefined)),
    ];
    return new MachineDisks({ filesystems, knowsLabels: labels !== undefined, mounts });
  }

  /** Where filesystems with this label are mounted. */
  withLabel(label: string): string[] {
    const named = this.filesystems.filter((one) => one.label === label);
    return named.flatMap(({ mountPoints }) => mountPoints);
  }

  isMountPoint(place: string): boolean {
    return this.#mounts.some(({ point }) => point === place);
  }

  /** Of local disks: nothing that a network could hold up. */
  get mountPoints(): string[] {
    const local = this.#mounts.filter(({ source }) => source.startsWith('/dev/'));
    return local.map(({ point }) => point);
  }
}

/** A name that udev has given to a device. */
interface Link {
  readonly name: string;
  readonly device: string;
  /** `major:minor` */
  readonly number: string;
}

/** `undefined` when there is no such folder. */
async function linksIn(folder: string): Promise<Link[] | undefined> {
  const names = await fs.readdir(folder).catch(absent);
  if (!names) return undefined;
  const links: Link[] = [];
  for (const name of names.toSorted().slice(0, LINKS_MAX)) {
    const device = await fs.realpath(path.join(folder, name)).catch(absent);
    const stat = device && (await fs.stat(device, { bigint: true }).catch(absent));
    if (!device || !stat) continue; // pulled out this moment
    const { major, minor } = deviceNumberOf(stat.rdev);
    links.push({ name: decodeLink(name), device, number: `${major}:${minor}` });
  }
  return links;
}

function isOf(mount: Mount, { device, number }: Link): boolean {
  return mount.device === number || mount.source === device;
}

/** As udev writes names of links: \x20 for a space. */
function decodeLink(name: string): string {
  const bytes = name.replace(/\\x([0-9a-f]{2})/gu, (_, hex: string) =>
    String.fromCodePoint(Number.parseInt(hex, 16)),
  );
  return bytes === name ? name : Buffer.from(bytes, 'latin1').toString();
}
